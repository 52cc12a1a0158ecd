import { EmpError, toEmpError } from '#protocol/errors.ts';
import { type JobLedger, newEntries } from '#protocol/ledger.ts';
import type { JobId } from '#protocol/names.ts';
import type { NewJob, SubmitRowAnswer } from '#protocol/records.ts';
import type { Database, Transaction } from './database.ts';
import { isLost } from './failures.ts';
import { holdJobs, writeJobs } from './ledgers.ts';
import { submitAll } from './submits.ts';

/** Jobs that one commit may write before the next takes over. */
const jobsLimit = 512;
/** Calls that may wait, e.g. while the server is slow. */
const waitingLimit = 20_000;
type Find = (jobId: JobId) => JobLedger | null;

type Work =
  | { kind: 'submit'; jobs: NewJob[]; nowMs: number }
  | { kind: 'change'; jobIds: JobId[]; act: (find: Find) => unknown };

interface Waiting {
  work: Work;
  settle: (outcome: Outcome) => void;
}

type Outcome = { ok: true; value: unknown } | { ok: false; error: unknown };

const weightOf = (work: Work) => Math.max(1, work.kind === 'submit' ? work.jobs.length : work.jobIds.length);

/**
 * Calls that arrive while a commit is under way share the next one: one transaction, a few statements,
 * one flush of the server's disk for all. Nobody is answered before the commit. One commit at a time:
 * two at once were no faster, and so calls keep their order. Locks are taken in one order everywhere
 * (new ids sorted, then known ids sorted), so the commits of several hubs wait for each other but never
 * in a circle.
 */
export class GroupCommit {
  readonly #db: Database;
  readonly #waiting: Waiting[] = [];
  #busy = false;

  constructor(db: Database) {
    this.#db = db;
  }

  submit(jobs: NewJob[], nowMs: number): Promise<SubmitRowAnswer[]> {
    return this.#add<SubmitRowAnswer[]>({ kind: 'submit', jobs, nowMs });
  }

  /**
   * `act` gets the named jobs under lock, null where there is none, and may run more than once (when
   * the server rolled a commit back, or when another call of the same commit failed).
   */
  change<T>(jobIds: JobId[], act: (find: Find) => T): Promise<T> {
    return this.#add<T>({ kind: 'change', jobIds, act });
  }

  #add<T>(work: Work): Promise<T> {
    if (this.#waiting.length >= waitingLimit) {
      const detail = `${waitingLimit} commits wait for the record store already. Try again later.`;
      return Promise.reject(new EmpError('RECORDS_UNAVAILABLE', { detail }));
    }
    return new Promise<T>((resolve, reject) => {
      const settle = (outcome: Outcome) =>
        outcome.ok ? resolve(outcome.value as T) : reject(toEmpError(outcome.error));
      this.#waiting.push({ work, settle });
      if (this.#busy) return;
      this.#busy = true;
      // After whoever else asks in this very turn.
      queueMicrotask(() => void this.#work());
    });
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      const outcomes = await this.#commit(group);
      for (const [index, item] of group.entries()) item.settle(outcomes[index] as Outcome);
    }
    this.#busy = false;
  }

  #takeGroup(): Waiting[] {
    let weight = 0;
    let count = 0;
    for (const { work } of this.#waiting) {
      weight += weightOf(work);
      if (count > 0 && weight > jobsLimit) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Never rejects. What fails for a reason of its own must not fail those beside it: then each goes alone. */
  async #commit(group: Waiting[]): Promise<Outcome[]> {
    try {
      const values = await this.#db.transaction((tx) =>
        runGroup(
          tx,
          group.map(({ work }) => work),
        ),
      );
      return values.map((value) => ({ ok: true, value }));
    } catch (error) {
      if (group.length === 1 || isLost(error)) return group.map(() => ({ ok: false, error }));
      const outcomes: Outcome[] = [];
      for (const item of group) outcomes.push(...(await this.#commit([item])));
      return outcomes;
    }
  }
}

async function runGroup(tx: Transaction, group: Work[]): Promise<unknown[]> {
  const submits = group.flatMap((work) => (work.kind === 'submit' ? work : []));
  const answers = submits.length > 0 ? await submitAll(tx, submits) : [];
  const ids = group.flatMap((work) => (work.kind === 'change' ? work.jobIds : []));
  const entries = newEntries();
  const held = await holdJobs(tx, ids, entries);
  const find: Find = (jobId) => held.get(jobId)?.ledger ?? null;
  const values = group.map((work) => (work.kind === 'submit' ? answers.shift() : work.act(find)));
  await writeJobs(tx, held, entries);
  return values;
}
