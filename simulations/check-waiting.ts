import type { Job, JobState } from '#protocol/job.ts';
import {
  type CountedWork,
  countedWith,
  covers,
  type LimitedWork,
  refusesBeyond,
  type WaitingLimit,
} from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { type AuditView, type Checker, type Observation, Violation } from './observation.ts';

const name = 'no more wait than may';

/**
 * Every hub knows of a limit within so long, and how many wait to within so long, ms: docs/limits.md. Counts are
 * instant here, so the rule for counts that take long is not met; one of a former start counts for the next as well.
 */
const knownWithinMs = 3_000;
const countedWithinMs = 1_000;

type RecordsSeen<K extends keyof Records> = Extract<Observation, { kind: 'records'; method: K }>;
type Asked = Extract<Observation, { kind: 'asked' }>;

/** A submission of a client that has reached a hub and was not answered yet. */
type Ask = Pick<Asked, 'ask' | 'jobId' | 'process' | 'run'> & { atMs: number; place: number };

/** Places number all that happens, in the order in which the store has done it. */
interface Created {
  place: number;
  work: LimitedWork;
  /** What it may come from; null: from several starts of a hub, nobody can tell which. */
  run: string | null;
  /** The earliest of its submissions that may be it. */
  askedMs: number;
  /** Numbers of these. */
  asks: number[];
}

interface Read extends CountedWork {
  place: number;
  atMs: number;
  answer: number;
  /** To which it was counted. */
  limit: number;
}

const workOf = ({ customer, pool, affinity }: Pick<Job, 'customer' | 'pool' | 'affinity'>): LimitedWork => ({
  customer,
  pool,
  model: affinity,
});
const isCounted = (by: CountedWork, work: LimitedWork) =>
  (by.customer ?? work.customer) === work.customer &&
  (by.pool ?? work.pool) === work.pool &&
  (by.model ?? work.model) === work.model;
const isSame = (a: CountedWork, b: CountedWork) =>
  a.customer === b.customer && a.pool === b.pool && a.model === b.model;
const notBegun: readonly JobState[] = ['scheduled', 'held', 'waiting'];

/** Rows that wait for certain, by the answers of Records: what a step may have begun is left out until an audit. */
class WaitingRows {
  readonly #rows = new Map<string, LimitedWork>();
  /** Of every job, as it was submitted. */
  readonly #works = new Map<string, LimitedWork>();

  created(jobId: string, work: LimitedWork): void {
    this.#works.set(jobId, work);
    this.#rows.set(jobId, work);
  }

  observe(seen: Extract<Observation, { kind: 'records' }>): void {
    switch (seen.method) {
      case 'exitJob': {
        const { answer } = seen;
        const isBack = answer.kind === 'ok' && answer.applied && notBegun.includes(answer.state);
        return this.#is(seen.args[0].jobId, isBack);
      }
      case 'requeueJob':
        if (seen.answer.kind === 'requeued') this.#is(seen.args[0].jobId, true);
        return;
      case 'completeJob':
      case 'finishCancel':
        return this.#is(seen.args[0].jobId, false);
      case 'expireTtl':
        if (seen.answer.kind === 'ok') for (const { jobId } of seen.answer.value) this.#is(jobId, false);
        return;
      case 'recordBrokerEvents':
        for (const event of seen.args[0].events) if ('jobId' in event) this.#is(event.jobId, false);
        return;
      default:
    }
  }

  audit(jobs: readonly Job[]): void {
    this.#rows.clear();
    for (const job of jobs) if (notBegun.includes(job.state)) this.#rows.set(job.id, workOf(job));
  }

  /** At least so many wait of it. */
  atLeast(counted: CountedWork): number {
    return [...this.#rows.values()].filter((work) => isCounted(counted, work)).length;
  }

  #is(jobId: string, waiting: boolean): void {
    const work = this.#works.get(jobId);
    if (waiting && work !== undefined) this.#rows.set(jobId, work);
    else this.#rows.delete(jobId);
  }
}

/** What clients ask and are told: a refusal leaves nothing, and what was accepted is not refused later. */
class Asks {
  readonly #open = new Map<number, Ask>();
  readonly #asked = new Set<string>();
  readonly #refused = new Set<string>();
  readonly #created: ReadonlyMap<string, Created>;

  constructor(created: ReadonlyMap<string, Created>) {
    this.#created = created;
  }

  asked(ask: Ask): void {
    this.#open.set(ask.ask, ask);
    this.#asked.add(ask.jobId);
  }

  answered({ ask, jobId, refusal }: Extract<Observation, { kind: 'answered' }>): void {
    const open = this.#open.get(ask);
    this.#open.delete(ask);
    if (refusal?.code !== 'QUEUE_FULL' || open === undefined) return;
    this.#refused.add(jobId);
    const row = this.#created.get(jobId);
    if (row === undefined) return;
    const { place, asks } = row;
    if (place < open.place)
      throw new Violation(name, { jobId, detail: `${jobId} was accepted, and its repeat was refused` });
    if (asks.length === 1 && asks[0] === ask)
      throw new Violation(name, { jobId, detail: `${jobId} was stored by a submission that was refused` });
  }

  /** Those of which a row may come; null where nobody watches the clients of this job. */
  behind(jobId: string, process: string): Ask[] | null {
    if (!this.#asked.has(jobId)) return null;
    const open = [...this.#open.values()].filter((ask) => ask.jobId === jobId && ask.process === process);
    if (open.length > 0) return open;
    throw new Violation(name, {
      jobId,
      detail: `${process} stored ${jobId}, and nobody waits for its answer`,
    });
  }

  audit({ jobs, broker }: AuditView): void {
    const rows = new Set(jobs.map(({ id }) => id));
    for (const jobId of this.#refused)
      if (!this.#created.has(jobId) && (rows.has(jobId) || broker.has(jobId)))
        throw new Violation(name, { jobId, detail: `${jobId} was refused and is there` });
  }
}

/**
 * A hub accepts no more than a limit lets wait: for each row that it stores, once the limit must be known
 * to it, there is a count that it has read, no older than a second when the job was submitted, under which
 * this job and all that the same process has stored since had room. Other hubs may have accepted as much in
 * that time, and what comes back is not submitted: both are in the next count. A count is never less than
 * what waits for certain.
 */
export function waitingBounded({ nowMs }: { nowMs: () => number }): Checker {
  const limits = new Map<string, { limit: WaitingLimit; sinceMs: number }>();
  const created = new Map<string, Created>();
  const reads = new Map<string, Read[]>();
  const rows = new WaitingRows();
  const asks = new Asks(created);
  let place = 0;

  const isBound = (row: Created, sinceMs: number) => row.askedMs >= sinceMs + knownWithinMs;
  const judge = (jobId: string, row: Created, process: string) => {
    for (const { limit, sinceMs } of limits.values()) {
      if (!covers(limit, row.work) || !isBound(row, sinceMs)) continue;
      const counted = countedWith(limit, row.work);
      const alike = [...created.values()].filter(
        (each) => each.run === row.run && isCounted(counted, each.work) && isBound(each, sinceMs),
      );
      const known = (reads.get(process) ?? []).filter(
        (read) =>
          isSame(read, counted) &&
          read.atMs >= row.askedMs - countedWithinMs &&
          (read.limit > limit.waiting || read.answer < read.limit),
      );
      const sums = known.map((read) => read.answer + alike.filter((each) => each.place > read.place).length);
      if (sums.some((sum) => sum <= limit.waiting)) continue;
      const counts = sums.length === 0 ? 'nothing that it has counted' : `counts of ${sums.join(', ')}`;
      const detail = `${process} stored ${jobId} under ${limit.name}, which lets ${limit.waiting} wait, with ${counts}`;
      throw new Violation(name, { jobId, detail });
    }
  };
  const stored = ({ process, args: [jobs], answer }: RecordsSeen<'submitJobs'>) => {
    for (const [index, job] of jobs.entries()) {
      if (answer[index]?.kind !== 'created') continue;
      rows.created(job.id, workOf(job));
      const behind = asks.behind(job.id, process);
      if (behind === null) continue;
      const runs = new Set(behind.map(({ run }) => run));
      const row: Created = {
        place,
        work: workOf(job),
        run: runs.size === 1 ? (behind[0]?.run ?? null) : null,
        askedMs: Math.min(...behind.map(({ atMs }) => atMs)),
        asks: behind.map(({ ask }) => ask),
      };
      created.set(job.id, row);
      if (row.run !== null) judge(job.id, row, process);
    }
  };
  const counts = ({ process, args: [asked], answer }: RecordsSeen<'countWaiting'>) => {
    for (const [index, each] of asked.entries()) {
      const [told, least] = [answer[index] ?? 0, Math.min(each.limit, rows.atLeast(each))];
      if (told < least)
        throw new Violation(name, { detail: `${process} was told ${told}, and at least ${least} wait` });
      const own = reads.get(process) ?? [];
      own.push({ ...each, place, atMs: nowMs(), answer: told });
      reads.set(process, own);
    }
  };
  return {
    name,
    observe(seen) {
      place++;
      if (seen.kind === 'asked') return asks.asked({ ...seen, atMs: nowMs(), place });
      if (seen.kind === 'answered') return asks.answered(seen);
      if (seen.kind !== 'records') return;
      rows.observe(seen);
      if (seen.method === 'submitJobs') stored(seen);
      if (seen.method === 'countWaiting') counts(seen);
      if (seen.method === 'removeLimit') limits.delete(seen.args[0].name);
      if (seen.method !== 'putLimit') return;
      const limit = seen.answer;
      limits.delete(limit.name);
      if (refusesBeyond(limit)) limits.set(limit.name, { limit, sinceMs: nowMs() });
    },
    audit(view) {
      rows.audit(view.jobs);
      asks.audit(view);
    },
  };
}
