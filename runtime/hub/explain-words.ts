import { limitInWords } from '#machines/policy/admission.ts';
import { type ClassSearch, unmetInWords } from '#machines/policy/matching.ts';
import type { Job, JobRun } from '#protocol/job.ts';
import type { Limit } from '#protocol/limit.ts';
import type { Pause } from '#protocol/records.ts';
import type { BrokerWord } from './explain.ts';
import type { Ahead, Choice, Explanation, MachineVerdict, Verdict } from './explanation.ts';

/** All that an explanation is worded from. */
export interface Facts {
  job: Job;
  nowMs: number;
  machines: MachineVerdict[];
  /** Whether any hub has a link to the machine that has the job. */
  isHolderLinked: boolean;
  ahead: Ahead | null;
  broker: BrokerWord;
  /** Classes of machines seen within the last month that may run it, or what none of them has. */
  search: ClassSearch;
  choice: Choice | null;
  /** That hold its pool, service or customer back. */
  pauses: Pause[];
  /** That hold it, with how many each has let in, and how many of what it counts wait: null where it counts none. */
  limits: { limit: Limit; used: number | null; waiting: number | null }[];
  /** Why it must not begin although it waits in the Broker; null where it may. */
  forbidden: string | null;
  runs: JobRun[];
  /** When it came into the state that it has. */
  sinceMs: number;
  leaseTtlMs: number;
  /** Machines that have its model and are soon free, for which idle ones leave it, for so long at most, ms. */
  hold: { by: readonly string[]; leftMs: number } | null;
  expectedStart: Explanation['expectedStart'];
}

/** Machines that one sentence names. */
const namedMachines = 3;

/** The explanation in sentences, what matters most first. */
export function explainInWords(facts: Facts): string[] {
  const { job } = facts;
  const earlier = pastRuns(facts);
  switch (job.state) {
    case 'held':
      return [...heldBy(facts), ...earlier];
    case 'scheduled':
      return [
        `It must not run before ${new Date(job.notBeforeMs ?? facts.nowMs).toISOString()}.`,
        ...earlier,
        ...whoCould(facts),
      ];
    case 'waiting':
      return [...waitsFor(facts), ...earlier];
    case 'leased':
      return [holder(facts), ...away(facts), ...chosen(facts), ...earlier];
    default:
      return [ended(facts), ...chosen(facts), ...earlier];
  }
}

/** They are counted to one more than 10 000. */
function waitInWords(waiting: number): string {
  if (waiting > 10_000) return 'more than 10 000 wait';
  return `${waiting} ${waiting === 1 ? 'waits' : 'wait'}`;
}

function heldBy(facts: Facts): string[] {
  const { job, nowMs, limits, pauses } = facts;
  if (job.cancelRequestedAtMs !== null) return ['It is about to be cancelled.'];
  const told = [
    ...pauses.filter(({ kind }) => kind === 'customer').map((pause) => held(facts, pause)),
    ...limits.map(({ limit, used, waiting }) => {
      const now = [
        used === null ? null : `${used} ${used === 1 ? 'is' : 'are'} let in`,
        waiting === null ? null : waitInWords(waiting),
      ].filter((part) => part !== null);
      return `It waits for room: ${limitInWords(limit)}${now.length === 0 ? '' : `; ${now.join(' and ')} now`}.`;
    }),
  ];
  const again =
    job.notBeforeMs !== null && job.notBeforeMs > nowMs
      ? [`It is tried again at ${new Date(job.notBeforeMs).toISOString()} at the earliest.`]
      : [];
  if (told.length + again.length === 0) return ['No limit holds it any more: it is let in within moments.'];
  return [...told, ...again];
}

function waitsFor(facts: Facts): string[] {
  const { broker } = facts;
  if (facts.job.cancelRequestedAtMs !== null) return ['It is about to be cancelled.'];
  if (broker.down !== null)
    return [`The broker does not answer (${broker.down}): nothing is claimed until it does.`];
  if (!broker.isOpen)
    return ['The broker was lost and is being rebuilt: nothing is claimed until that is done.'];
  if (broker.view === null) return [notHandedOver(facts)];
  if (broker.view.holder !== null) return [`${broker.view.holder.machineId} has just claimed it.`];
  if (broker.view.rebuilt)
    return [
      'It was here when the broker was lost: it waits one lease time, in which the machine that may still run it can say so.',
      ...whoCould(facts),
    ];
  if (facts.forbidden !== null) return [`It is held as soon as a machine would get it: ${facts.forbidden}.`];
  if (facts.pauses.length > 0)
    return [...facts.pauses.map((pause) => held(facts, pause)), ...whoIsBefore(facts)];
  return [...whoCould(facts), ...leftTo(facts), ...whoIsBefore(facts), ...when(facts)];
}

function leftTo({ hold, job }: Facts): string[] {
  if (hold === null) return [];
  return [
    `Idle machines leave it to ${some([...hold.by])}, which ${hold.by.length === 1 ? 'has' : 'have'} ${job.models[0] ?? 'its model'} and should be free before it could be fetched; for ${seconds(hold.leftMs)} more at most.`,
  ];
}

/** Lease times after which a row that waits should be in the Broker, whatever had happened. */
const handOverLeases = 3;

function notHandedOver({ nowMs, sinceMs, leaseTtlMs }: Facts): string {
  const forMs = nowMs - sinceMs;
  if (forMs <= handOverLeases * leaseTtlMs)
    return 'The broker does not know it yet: a reconciler hands it over within moments.';
  return `The broker does not know it, ${seconds(forMs)} after it began to wait: a reconciler should have handed it over long ago. /readyz of the hubs and their logs tell what keeps it.`;
}

function held({ nowMs }: Facts, { kind, name, reason, actor, sinceMs }: Pause): string {
  const why = reason === '' ? '' : `: ${reason}`;
  return `The ${kind} ${name} has been held back for ${seconds(nowMs - sinceMs)} by ${actor}${why}. It goes on when somebody resumes it.`;
}

const of = (facts: Facts, verdict: Verdict) =>
  facts.machines.filter((machine) => machine.verdict === verdict).map(({ machineId }) => machineId);

const some = (ids: string[]) =>
  ids.length <= namedMachines
    ? ids.join(', ')
    : `${ids.slice(0, namedMachines).join(', ')} and ${ids.length - namedMachines} more`;

const plural = (count: number, one: string) => `${count} ${one}${count === 1 ? '' : 's'}`;

/** What the machines are to the job, as one or two sentences. */
function whoCould(facts: Facts): string[] {
  const [free, busy, closed, away] = (['free', 'busy', 'closed', 'away'] as const).map((one) =>
    of(facts, one),
  );
  if (free?.length)
    return [`${some(free)} may run it and ${free.length === 1 ? 'has' : 'have'} a free slot.`];
  if (busy?.length)
    return [`Every machine that may run it and is there is busy: ${some(busy)}.`, ...shut(closed ?? [])];
  if (closed?.length) return shut(closed);
  if (away?.length) return [`The machines that may run it are away: ${some(away)}.`];
  return [nobody(facts)];
}

const shut = (closed: string[]) =>
  closed.length === 0
    ? []
    : [`${some(closed)} may run it, and ${closed.length === 1 ? 'is' : 'are'} cordoned or drained.`];

function nobody({ machines, search, job }: Facts): string {
  const pin = job.requirements.machineId;
  const pinned = machines.find(({ machineId }) => machineId === pin);
  if (pin !== undefined && pinned === undefined) return `It is pinned to ${pin}, which is not there.`;
  if (pinned !== undefined)
    return `It is pinned to ${pin}, which cannot run it: ${unmetInWords(pinned.unmet)}.${inSpiteOfPin(pinned)}`;
  if (search.kind === 'unmet')
    return `No machine of the last month could run it: ${unmetInWords(search.unmet)}.`;
  if (search.kind === 'unknownService')
    return `No machine of the last month offers ${job.service}; offered: ${search.offered.join(', ') || 'nothing'}.`;
  if (search.kind === 'noneKnown')
    return `No machine has joined: it waits for one that offers ${job.service}.`;
  const [closest] = machines;
  if (closest === undefined)
    return 'No machine is there: all that have joined left, or have been silent for an hour.';
  return `No machine that is there may run it. The closest one, ${closest.machineId}, lacks ${unmetInWords(closest.unmet)}.`;
}

/** Whoever pins a job to a reserved machine may think that this is word enough. */
const inSpiteOfPin = ({ unmet }: MachineVerdict) =>
  unmet.some(({ requirement }) => requirement === 'reservation')
    ? ' A pin opens no reservation: the job must name the tag, too.'
    : '';

function whoIsBefore({ ahead }: Facts): string[] {
  if (ahead === null) return [];
  if (ahead.inGroup === 0) return ['Nothing of its group comes before it.'];
  const [first] = ahead.leaders;
  const why = first === undefined ? '' : `; first ${first.jobId} of ${first.customer}: ${first.why}`;
  return [
    `${plural(ahead.inGroup, 'job')} of its group come${ahead.inGroup === 1 ? 's' : ''} before it${why}.`,
  ];
}

function when({ expectedStart }: Facts): string[] {
  return expectedStart === null
    ? []
    : [`It should start in about ${seconds(expectedStart.inMs)}: ${expectedStart.basis}.`];
}

function holder({ job, machines, nowMs }: Facts): string {
  const since = seconds(nowMs - (job.startedAtMs ?? nowMs));
  const here = machines.find(({ verdict }) => verdict === 'holds');
  const fetching = here?.model === 'fetching' || here?.model === 'absent';
  const waits =
    fetching && job.progress === 0 ? `, and its model ${job.models[0]} is not on its disk yet` : '';
  return `${job.machineId} has had it for ${since}, ${Math.round(job.progress * 100)} % done${waits}.`;
}

function away({ job, isHolderLinked }: Facts): string[] {
  if (isHolderLinked) return [];
  return [
    `No hub has a link to ${job.machineId} now: unless it comes back, the job goes to another machine when its lease ends.`,
  ];
}

/** Why that machine: what its claim weighed. */
function chosen({ job, choice, machines }: Facts): string[] {
  if (choice === null) return [];
  const head = `${choice.machineId} claimed it after ${seconds(choice.waitedMs)}`;
  const [model] = job.models;
  const near = model === undefined ? 'the job needs no model' : `${model} was there or not far`;
  const warm =
    choice.bonusMs > 0
      ? `because it had a free slot and ${near}, which counted as ${seconds(choice.bonusMs)} of waiting`
      : 'because it had a free slot and this was the first job that it may run';
  const pool = machines.find(({ machineId }) => machineId === choice.machineId)?.pool;
  const spill =
    choice.penaltyMs > 0 && pool !== job.pool
      ? `; it belongs to another pool than ${job.pool}, which cost the job ${seconds(choice.penaltyMs)}`
      : '';
  return [`${head} ${warm}${spill}.`];
}

function ended({ job }: Facts): string {
  const where = job.machineId === null ? 'without a run' : `on ${job.machineId}`;
  if (job.state === 'succeeded') return `It succeeded ${where}.`;
  if (job.state === 'failed')
    return `It failed ${where} for good: ${job.error?.code ?? 'JOB_FAILED'}, ${job.error?.message ?? 'no word why'}.`;
  if (job.state === 'dead')
    return `It is dead after ${plural(job.attempts, 'counted try').replace('trys', 'tries')} of ${job.maxAttempts}: ${job.reason ?? 'no word why'}.`;
  return `It was cancelled${job.reason === null ? '' : `: ${job.reason}`}.`;
}

/** Runs that came to nothing, by machine: a job that kills machines is seen here. */
function pastRuns({ runs }: Facts): string[] {
  const lost = runs.filter(({ outcome }) => outcome !== 'running' && outcome !== 'succeeded');
  if (lost.length === 0) return [];
  const told = lost
    .slice(-5)
    .map(
      ({ machineId, outcome, error }) => `${machineId} ${outcome}${error === null ? '' : ` (${error.code})`}`,
    );
  return [`${plural(lost.length, 'run')} came to nothing: ${told.join(', ')}.`];
}

/** Tenths below ten seconds, whole seconds and minutes above. */
function seconds(ms: number): string {
  if (ms < 10_000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  return `${Math.round(ms / 60_000)} min`;
}
