import type { BrokerEvent } from './broker.ts';
import type { Job } from './job.ts';
import type { ExitCause, NewJob, Records, SingletonLease } from './records.ts';
import { type FencingToken, zeroToken } from './token.ts';

/** One store under test, fresh and empty. */
export interface RecordsUnderTest {
  records: Records;
  /** Lets `ms` pass on the clock by which this store judges singletons. */
  elapse(ms: number): Promise<void>;
  /** A second client of the same store, as another hub has; absent where there can be only one. */
  another?: () => Promise<Records>;
  /** Closes every client and removes the store. */
  close(): Promise<void>;
}

export type RecordsSetup = () => Promise<RecordsUnderTest>;

/** Where the suites' time begins, ms since 1970. */
export const t0 = 1_767_225_600_000;
export const m1 = { machineId: 'm1', incarnation: 1 };
export const m2 = { machineId: 'm2', incarnation: 4 };

let made = 0;

export function newJob(over: Partial<NewJob> = {}): NewJob {
  const id = over.id ?? `job_${String(++made).padStart(8, '0')}`;
  return {
    id,
    service: 'simulation',
    pool: 'standard',
    group: 'g0123456789abcdef',
    affinity: '-',
    models: [],
    priority: 50,
    customer: 'default',
    expectedMs: 1_000,
    maxRunMs: 60_000,
    maxAttempts: 3,
    payload: { prompt: 'a lighthouse', steps: 20 },
    inputs: [],
    requirements: { vramMb: 8_000 },
    labels: {},
    traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01',
    notBeforeMs: null,
    expiresAtMs: null,
    limited: false,
    preemptible: false,
    state: 'waiting',
    fingerprint: `fingerprint of ${id}`,
    ...over,
  };
}

export const permanent: ExitCause = {
  kind: 'fail',
  error: { code: 'JOB_FAILED', message: 'no such style', retryable: false },
  notBeforeMs: null,
};
export const retryable = (notBeforeMs: number | null = null): ExitCause => ({
  kind: 'fail',
  error: { code: 'CONNECTOR_FAILED', message: 'the service died', retryable: true },
  notBeforeMs,
});
export const expire: ExitCause = { kind: 'expire', reason: 'silent past its lease' };
export const release: ExitCause = { kind: 'release', reason: 'preempted' };
export const withhold: ExitCause = { kind: 'withhold', reason: 'the limit one has no room' };
/** What jobs of the fixture are to limits. */
export const ordinary = { customer: 'default', pool: 'standard', model: '-' };

/** Short ways to do what hubs do, on one store. */
export function hubOn(records: Records, identity = 'server-1') {
  let recorderLease: SingletonLease | null = null;
  let eventId = 0;

  const recorder = async (): Promise<SingletonLease> => {
    recorderLease ??= await records.holdSingleton({
      name: 'recorder',
      holder: identity,
      ttlMs: 600_000,
      current: null,
    });
    if (!recorderLease) throw new Error('another holds the recorder');
    return recorderLease;
  };
  const event = (kind: BrokerEvent['kind'], jobId: string, over: Partial<BrokerEvent> = {}): BrokerEvent => {
    return {
      id: ++eventId,
      kind,
      jobId,
      token: zeroToken,
      ...m1,
      run: 1,
      fraction: null,
      choice: null,
      atMs: t0 + 10,
      ...over,
    };
  };
  const record = async (...events: BrokerEvent[]) =>
    records.recordBrokerEvents({ identity, events, lease: await recorder() });

  return {
    records,
    recorder,
    event,
    record,

    async submit(over: Partial<NewJob> = {}): Promise<string> {
      const job = newJob(over);
      const [answer] = await records.submitJobs([job], t0);
      if (answer?.kind !== 'created') throw new Error(`submit of ${job.id} answered ${answer?.kind}`);
      return job.id;
    },

    async claim(jobId: string, token: FencingToken, holder = m1, atMs = t0 + 10): Promise<void> {
      await record(event('leased', jobId, { token, ...holder, atMs }));
    },

    exit(
      jobId: string,
      token: FencingToken,
      cause: ExitCause,
      over: { holder?: typeof m1; nowMs?: number } = {},
    ) {
      const holder = over.holder ?? m1;
      const actor = `${holder.machineId}/${holder.incarnation}`;
      return records.exitJob({ jobId, token, cause, holder, actor, nowMs: over.nowMs ?? t0 + 100 });
    },

    complete(jobId: string, token: FencingToken, over: { holder?: typeof m1; nowMs?: number } = {}) {
      const result = { outputs: [], data: { answer: 42 } };
      return records.completeJob({
        jobId,
        token,
        holder: over.holder ?? m1,
        result,
        nowMs: over.nowMs ?? t0 + 100,
      });
    },

    async cancel(jobId: string, nowMs = t0 + 50) {
      await records.requestCancel({ jobId, actor: 'client', nowMs });
      return records.finishCancel({ jobId, actor: 'client', nowMs });
    },

    /** By default at a time below all tokens, so that these alone set the floor. */
    requeue: (jobId: string, nowMs = 0) => records.requeueJob({ jobId, actor: 'operator', nowMs }),

    async job(jobId: string): Promise<Job> {
      const job = await records.getJob(jobId);
      if (!job) throw new Error(`there is no job ${jobId}`);
      return job;
    },

    /** Types of the job's events, in order. */
    async facts(jobId: string): Promise<string[]> {
      await records.assignSeq({ limit: 100_000, lease: await recorder() });
      const events = await records.listEvents({ after: 0, limit: 1_000, jobId });
      return events.map((each) => each.type);
    },
  };
}

export type Hub = ReturnType<typeof hubOn>;
