import { type MachineRef, machineKey } from '#protocol/names.ts';
import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'I8: a wake reaches its machine';

export interface WakeLimits {
  /** Time of the observations, ms. */
  nowMs: () => number;
  /** From a wake to the claim that it asks for, ms: below a beat, whose answer would tell of the work, too. */
  limitMs: number;
  /** After the heal links are made anew; wakes are judged from then on, ms. */
  calmAfterMs: number;
}

/** Machines that a step of the Broker has named: each has left the idle index by it. */
function wokenBy(seen: Extract<Observation, { kind: 'broker' }>): MachineRef[] {
  switch (seen.method) {
    case 'submit':
      return seen.answer.kind === 'ok'
        ? seen.answer.answers.flatMap((each) =>
            each.kind === 'added' && each.wake !== null ? [each.wake] : [],
          )
        : [];
    case 'claim':
      return seen.answer.kind === 'leased' && seen.answer.wake !== null ? [seen.answer.wake] : [];
    case 'exit':
      return seen.answer.kind === 'requeued' && seen.answer.wake !== null ? [seen.answer.wake] : [];
    case 'passWake':
      return seen.answer.wake === null ? [] : [seen.answer.wake];
    case 'promote':
      return seen.answer.wakes;
    default:
      return [];
  }
}

/**
 * Whoever the Broker names is told, and asks: after the heal each wake is followed by a claim of that
 * machine, or passed on, or its link or incarnation has ended. Beats would find the work as well, a few
 * seconds later: without this check nobody would see that wakes get lost.
 */
export function wakesArrive(limits: WakeLimits): Checker {
  const woken = new Map<string, number>();
  let calmFromMs = Number.POSITIVE_INFINITY;
  const judge = () => {
    const nowMs = limits.nowMs();
    if (nowMs < calmFromMs) return;
    for (const [machine, sinceMs] of woken) {
      const waitedMs = nowMs - Math.max(sinceMs, calmFromMs);
      if (sinceMs >= calmFromMs && waitedMs > limits.limitMs)
        throw new Violation(name, {
          detail: `${machine} was to be woken ${Math.round(waitedMs)} ms ago and has asked for nothing since`,
        });
    }
  };
  return {
    name,
    observe(seen) {
      if (seen.kind === 'healed') calmFromMs = limits.nowMs() + limits.calmAfterMs;
      if (seen.kind === 'brokerLost') woken.clear();
      if (seen.kind !== 'broker') return;
      judge();
      if (seen.method === 'claim' || seen.method === 'passWake' || seen.method === 'enrol')
        woken.delete(machineKey(seen.args[0]));
      if (seen.method === 'leave' || seen.method === 'shorten') woken.delete(machineKey(seen.args[0]));
      for (const machine of wokenBy(seen)) woken.set(machineKey(machine), limits.nowMs());
    },
  };
}
