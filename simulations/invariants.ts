import { storesAgree } from './check-agreement.ts';
import { attemptsCounted } from './check-attempts.ts';
import { bonusBounded } from './check-bonus.ts';
import { cardsHold } from './check-card.ts';
import { deadClaimNothing } from './check-dead.ts';
import { drained } from './check-drained.ts';
import { drainingClaimsNothing } from './check-draining.ts';
import { fairWait } from './check-fair-wait.ts';
import { type IdleLimits, idleServed } from './check-idle.ts';
import { indexesTrue } from './check-indexes.ts';
import { limitsHold } from './check-limits.ts';
import { modelsStay } from './check-models.ts';
import { noJobNowhere } from './check-nowhere.ts';
import { oneHolder } from './check-one-holder.ts';
import { requirementsHold } from './check-requirements.ts';
import { slotsHold } from './check-slots.ts';
import { noStaleWrite } from './check-stale-writes.ts';
import { terminalStays } from './check-terminal.ts';
import { timelinesTrue } from './check-timelines.ts';
import { tokensRise } from './check-tokens.ts';
import { waitingBounded } from './check-waiting.ts';
import { wakesArrive } from './check-wakes.ts';
import type { Checker } from './observation.ts';

/** The invariants of the queue by number, as docs/simulation.md lists them. A checker's name begins with its numbers. */
export const invariants = {
  I1: 'every accepted job ends in exactly one terminal state',
  I2: 'a job is in exactly the index of its state, and every index entry has its job',
  I3: 'at most one completion of a job is accepted, of the highest fence',
  I4: 'the tokens of a job rise, also across losses of the Broker',
  I5: 'no claim violates a hard requirement',
  I6: 'no slot is given twice, and nothing counts what it could leak',
  I7: 'the heads of lanes and groups are the true heads',
  I8: 'waiting work and an idle fit machine meet in time',
  I9: 'a customer with one job waits its turn and no longer',
  I10: 'a cold lane waits at most the affinity bonus longer',
  I11: 'Records and Broker agree when nothing is under way',
  I12: 'what has ended leaves nothing behind in the Broker',
} as const;
export type InvariantNumber = keyof typeof invariants;

/** Numbers in front of a checker's name; rules of the protocol beside the twelve have none. */
export function numbersOf(checker: Pick<Checker, 'name'>): InvariantNumber[] {
  const [head = '', rest] = checker.name.split(': ', 2);
  return rest === undefined
    ? []
    : (head.split(', ').filter((each) => each in invariants) as InvariantNumber[]);
}

/**
 * Those that judge the stores at rest and need no history. Virtual worlds ask them with the others;
 * `emp chaos` asks them of real servers at the end of each run (faults/rest.ts).
 */
export function restingCheckers(): Checker[] {
  return [timelinesTrue(), storesAgree(), indexesTrue(), drained()];
}

/** Every invariant, in the order in which a breach is easiest to understand. */
export function allCheckers(limits: IdleLimits): Checker[] {
  return [
    tokensRise(),
    oneHolder(),
    noStaleWrite(),
    terminalStays(),
    requirementsHold(),
    slotsHold(),
    limitsHold(),
    waitingBounded(limits),
    cardsHold(),
    modelsStay(),
    bonusBounded(),
    fairWait(),
    idleServed(limits),
    wakesArrive({ nowMs: limits.nowMs, limitMs: limits.beatMs, calmAfterMs: limits.leaseTtlMs }),
    attemptsCounted(),
    noJobNowhere(),
    drainingClaimsNothing(),
    deadClaimNothing(),
    ...restingCheckers(),
  ];
}
