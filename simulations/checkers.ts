import type { Broker, BrokerView } from '#protocol/broker.ts';
import type { Job } from '#protocol/job.ts';
import type { Records } from '#protocol/records.ts';
import { type AuditView, type Checker, type Observation, type Timeline, Violation } from './observation.ts';

const pageLimit = 1_000;

/** Every job of the store, page by page. */
export async function allJobs(records: Records): Promise<Job[]> {
  const jobs: Job[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: Job[]; nextCursor: string | null } = await records.listJobs({
      filter: {},
      limit: pageLimit,
      cursor,
    });
    jobs.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return jobs;
}

/** Every entry of the Broker, page by page. */
export async function allEntries(broker: Broker): Promise<Map<string, BrokerView>> {
  const entries = new Map<string, BrokerView>();
  for (let after: string | null = null; ; ) {
    const page: { jobId: string }[] = await broker.list({ after, limit: pageLimit });
    for (const { jobId } of page) {
      const view = await broker.inspect(jobId);
      if (view) entries.set(jobId, view);
    }
    const last = page.at(-1);
    if (!last || page.length < pageLimit) return entries;
    after = last.jobId;
  }
}

/**
 * The checkers of one world. `observe` is called for every step in the order of execution; `audit`
 * reads both stores past all faults and must be called while no port call is under way.
 */
export class CheckerSet {
  readonly #checkers: Checker[];
  #observations = 0;
  #audits = 0;
  #failure: Violation | null = null;

  constructor(checkers: Checker[]) {
    this.#checkers = checkers;
  }

  get observations(): number {
    return this.#observations;
  }

  get audits(): number {
    return this.#audits;
  }

  /**
   * Keeps the first breach for `throwIfBroken` instead of throwing: it is called inside a port call, and
   * the code under test would take the error for one of the store.
   */
  observe(observation: Observation): void {
    this.#observations++;
    for (const checker of this.#checkers) {
      try {
        checker.observe?.(observation);
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        this.#failure ??= error;
      }
    }
  }

  /** Called by the driver after every step. */
  throwIfBroken(): void {
    if (this.#failure) throw this.#failure;
  }

  /** `indexProblems`: what the audit of the Broker's own structures found, where there is one. */
  async audit(options: {
    records: Records;
    broker: Broker;
    atRest: boolean;
    indexProblems?: () => Promise<string[]>;
  }): Promise<AuditView> {
    const view = await viewOf(options);
    this.#audits++;
    for (const checker of this.#checkers) checker.audit?.(view);
    return view;
  }
}

async function viewOf(options: Parameters<CheckerSet['audit']>[0]): Promise<AuditView> {
  const { records, broker, atRest } = options;
  const jobs = await allJobs(records);
  const timelines = new Map<string, Timeline>();
  if (atRest) for (const { id } of jobs) timelines.set(id, await records.timeline(id));
  const stats = await broker.stats();
  return {
    jobs,
    broker: await allEntries(broker),
    stats,
    brokerOpen: stats.open,
    atRest,
    indexProblems: (await options.indexProblems?.()) ?? [],
    timelines,
    events: atRest ? (await broker.events({ after: 0, limit: 1_000 })).events.length : 0,
  };
}
