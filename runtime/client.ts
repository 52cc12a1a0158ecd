import { type Env, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type {
  InputRef,
  Job,
  JobOutput,
  JobRun,
  JobState,
  JobSubmissionInput,
  JobTransition,
} from '#protocol/job.ts';
import type { ModelManifest } from '#protocol/model.ts';
import type { MachineRow, RecordedEvent } from '#protocol/records.ts';
import { BulkCalls } from './client-bulks.ts';
import type { Signalled } from './client-call.ts';
import { type EventQuery, type FollowOptions, followEvents } from './client-events.ts';
import { downloadOutput, inputName, measureFile, mimeOf, putFile } from './client-files.ts';
import {
  type HttpOptions,
  type HttpRequest,
  HubUnreachable,
  openRequest,
  requestJson,
} from './client-http.ts';
import { LimitCalls } from './client-limits.ts';
import { PauseCalls } from './client-pauses.ts';
import { ScheduleCalls } from './client-schedules.ts';
import type { DryRun } from './hub/dry-run.ts';
import type { Explanation } from './hub/explanation.ts';
import type { MachineView } from './hub/machines.ts';
import type { HubStatus } from './hub/status.ts';
import { hasEnded } from './job-states.ts';

export interface JobQuery {
  states?: JobState[] | undefined;
  service?: string | undefined;
  customer?: string | undefined;
  pool?: string | undefined;
  machineId?: string | undefined;
  /** `key:value`. */
  label?: string | undefined;
  sinceMs?: number | undefined;
}

export interface TimelineView {
  job: Job;
  transitions: JobTransition[];
  runs: JobRun[];
  broker: unknown;
}

export interface ClientOptions {
  baseUrl: string;
  env: Pick<Env, 'clock' | 'newId'>;
  /** Time for one answer, ms. */
  timeoutMs?: number;
  /**
   * How long `submit` and `wait` go on trying when a hub that answered before is silent, ms: a hub
   * restarts in a second or two, and what they do may be repeated without harm.
   */
  patienceMs?: number;
}

/** Longest that the hub is asked to hold one wait, ms. */
const longPollMs = 30_000;
/** Most jobs in one batch; the hub refuses more. */
export const batchLimit = 1_000;

/**
 * Client of the hub's HTTP API. Every method rejects with `HubUnreachable` where nothing answers,
 * `NotAHub` where something else does, and `EmpError` with the code of the hub's problem document.
 * Answers are not checked against schemas: fields that a newer hub adds must not break an older client.
 */
export class HubClient {
  readonly #http: HttpOptions;
  readonly #env: Pick<Env, 'clock' | 'newId'>;
  readonly #patienceMs: number;
  /** A hub that never answered is not waited for: the URL is more likely wrong. */
  #answered = false;

  constructor(options: ClientOptions) {
    this.#env = options.env;
    this.#http = {
      baseUrl: options.baseUrl,
      clock: options.env.clock,
      timeoutMs: options.timeoutMs ?? 30_000,
    };
    this.#patienceMs = options.patienceMs ?? 60_000;
    this.bulks = new BulkCalls((asked) => this.#call(asked), options.env.clock);
  }

  /** How much of what may be under way. */
  readonly limits = new LimitCalls((asked) => this.#call(asked));
  /** What nobody is given until an operator says so. */
  readonly pauses = new PauseCalls((asked) => this.#call(asked));
  readonly schedules = new ScheduleCalls((asked) => this.#call(asked));
  /** What is done to many jobs at once. */
  readonly bulks: BulkCalls;

  get baseUrl(): string {
    return this.#http.baseUrl;
  }

  async #call<T>(request: HttpRequest): Promise<T> {
    return (await this.#request<T>(request)).body;
  }

  async #request<T>(request: HttpRequest): Promise<{ status: number; body: T }> {
    const answer = await requestJson<T>(this.#http, request);
    this.#answered = true;
    return answer;
  }

  status(options: Signalled = {}): Promise<HubStatus> {
    return this.#call({ path: '/v1/status', signal: options.signal });
  }

  /**
   * Submits one job. It always carries an id, made here if the caller gave none: so a submission whose
   * answer was lost is repeated safely, and the answer is the one accepted job. `created` is false
   * where the hub had it already; `warnings` say why it may wait, e.g. that no machine has joined.
   */
  async submit(
    job: JobSubmissionInput,
    options: Signalled = {},
  ): Promise<{ job: Job; created: boolean; warnings: string[] }> {
    const json = { ...job, id: job.id ?? this.#env.newId('job') };
    const { status, body } = await this.#patiently(options.signal, () =>
      this.#request<{ job: Job; warnings?: string[] }>({
        method: 'POST',
        path: '/v1/jobs',
        json,
        signal: options.signal,
      }),
    );
    return { job: body.job, created: status === 201, warnings: body.warnings ?? [] };
  }

  dryRun(job: JobSubmissionInput, options: Signalled = {}): Promise<DryRun> {
    return this.#call({
      method: 'POST',
      path: '/v1/jobs',
      query: { dryRun: true },
      json: job,
      signal: options.signal,
    });
  }

  /** Submits up to 1 000 jobs, all or none; ids as in `submit`. */
  async submitBatch(
    jobs: JobSubmissionInput[],
    options: Signalled = {},
  ): Promise<{ created: boolean; job: Job }[]> {
    const named = jobs.map((job) => ({ ...job, id: job.id ?? this.#env.newId('job') }));
    const answer = await this.#patiently(options.signal, () =>
      this.#call<{ items: { created: boolean; job: Job }[] }>({
        method: 'POST',
        path: '/v1/jobs/batch',
        json: { jobs: named },
        signal: options.signal,
      }),
    );
    return answer.items;
  }

  async get(jobId: string, options: Signalled & { waitMs?: number } = {}): Promise<Job> {
    const { job } = await this.#call<{ job: Job }>({
      path: `/v1/jobs/${encodeURIComponent(jobId)}`,
      query: { waitMs: options.waitMs },
      holdMs: options.waitMs ?? 0,
      signal: options.signal,
    });
    return job;
  }

  /** Resolves with the job once it is terminal, across restarts of the hub. */
  async wait(jobId: string, options: Signalled = {}): Promise<Job> {
    for (;;) {
      const job = await this.#patiently(options.signal, () =>
        this.get(jobId, { waitMs: longPollMs, signal: options.signal }),
      );
      if (hasEnded(job.state)) return job;
    }
  }

  /** Why the job is where it is, and what would move it. */
  explain(jobId: string, options: Signalled = {}): Promise<Explanation> {
    return this.#call({ path: `/v1/jobs/${encodeURIComponent(jobId)}/explain`, signal: options.signal });
  }

  timeline(jobId: string, options: Signalled = {}): Promise<TimelineView> {
    return this.#call({ path: `/v1/jobs/${encodeURIComponent(jobId)}/timeline`, signal: options.signal });
  }

  list(
    query: JobQuery & { limit?: number; cursor?: string | undefined },
    options: Signalled = {},
  ): Promise<{ items: Job[]; nextCursor: string | null }> {
    return this.#call({
      path: '/v1/jobs',
      query: { ...filterQuery(query), limit: query.limit, cursor: query.cursor },
      signal: options.signal,
    });
  }

  async count(query: JobQuery, options: Signalled = {}): Promise<Record<JobState, number>> {
    const { counts } = await this.#call<{ counts: Record<JobState, number> }>({
      path: '/v1/jobs/count',
      query: filterQuery(query),
      signal: options.signal,
    });
    return counts;
  }

  /** `requested`: a machine runs it and has been told; the job ends when that machine confirms. */
  cancel(jobId: string, options: Signalled = {}): Promise<{ state: 'cancelled' | 'requested'; job: Job }> {
    return this.#call({
      method: 'POST',
      path: `/v1/jobs/${encodeURIComponent(jobId)}/cancel`,
      json: {},
      signal: options.signal,
    });
  }

  async requeue(jobId: string, options: Signalled = {}): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(jobId)}/requeue`;
    return (await this.#call<{ job: Job }>({ method: 'POST', path, json: {}, signal: options.signal })).job;
  }

  async machines(options: Signalled & { all?: boolean } = {}): Promise<MachineView[]> {
    const query = options.all ? { all: true } : {};
    return (
      await this.#call<{ items: MachineView[] }>({ path: '/v1/machines', query, signal: options.signal })
    ).items;
  }

  machine(machineId: string, options: Signalled = {}): Promise<MachineView> {
    return this.#call({ path: `/v1/machines/${encodeURIComponent(machineId)}`, signal: options.signal });
  }

  async drain(
    machineId: string,
    body: { deadlineMs?: number; reason?: string },
    options: Signalled = {},
  ): Promise<MachineRow> {
    return await this.#machineOrder(machineId, 'drain', body, options);
  }

  async cordon(machineId: string, cordoned: boolean, options: Signalled = {}): Promise<MachineRow> {
    return await this.#machineOrder(machineId, cordoned ? 'cordon' : 'uncordon', {}, options);
  }

  async #machineOrder(
    machineId: string,
    order: string,
    json: object,
    options: Signalled,
  ): Promise<MachineRow> {
    const path = `/v1/machines/${encodeURIComponent(machineId)}/${order}`;
    return (await this.#call<{ machine: MachineRow }>({ method: 'POST', path, json, signal: options.signal }))
      .machine;
  }

  async models(options: Signalled = {}): Promise<ModelManifest[]> {
    return (await this.#call<{ items: ModelManifest[] }>({ path: '/v1/models', signal: options.signal }))
      .items;
  }

  /**
   * Registers a model, then uploads those of its files (`paths` by registered name) that the hub does
   * not have yet. A machine that asks in between is told to try again.
   */
  async putModel(
    manifest: ModelManifest,
    paths: ReadonlyMap<string, string>,
    options: Signalled = {},
  ): Promise<void> {
    const { signal } = options;
    const model = `/v1/models/${encodeURIComponent(manifest.id)}`;
    await this.#call({ method: 'PUT', path: model, json: manifest, signal });
    for (const file of manifest.files) {
      const path = paths.get(file.name);
      if (path === undefined) continue;
      const ticket = await this.#call<{ url: string; stored: boolean }>({
        method: 'POST',
        path: `${model}/files/${encodeURIComponent(file.name)}`,
        json: {},
        signal,
      });
      if (ticket.stored) continue;
      await putFile(this.#http, { url: ticket.url, path, mime: 'application/octet-stream', signal });
    }
  }

  /** Stores a local file as an input for jobs; the same file under the same name may be uploaded again. */
  async upload(path: string, options: Signalled & { name?: string } = {}): Promise<InputRef> {
    const name = options.name ?? inputName(path);
    const mime = mimeOf(name);
    const json = { name, mime, ...(await measureFile(path)) };
    const ticket = await this.#call<{ object: string; url: string }>({
      method: 'POST',
      path: '/v1/uploads',
      json,
      signal: options.signal,
    });
    await putFile(this.#http, { url: ticket.url, path, mime, signal: options.signal });
    return { name, object: ticket.object };
  }

  /** Fetches one output into `dir`, checks size and SHA-256, and answers the path. */
  download(
    jobId: string,
    output: JobOutput,
    dir: string,
    options: Signalled & { fileName?: string } = {},
  ): Promise<string> {
    return downloadOutput(this.#http, { jobId, output, dir, ...options });
  }

  async preview(jobId: string, options: Signalled = {}): Promise<{ mime: string; bytes: Uint8Array }> {
    const response = await openRequest(this.#http, {
      path: `/v1/jobs/${encodeURIComponent(jobId)}/preview`,
      signal: options.signal,
    });
    const mime = response.headers.get('content-type') ?? 'application/octet-stream';
    return { mime, bytes: new Uint8Array(await response.arrayBuffer()) };
  }

  joinToken(options: Signalled & { ttlMs?: number } = {}): Promise<{ token: string; expiresAtMs: number }> {
    const json = options.ttlMs === undefined ? {} : { ttlMs: options.ttlMs };
    return this.#call({ method: 'POST', path: '/v1/join-tokens', json, signal: options.signal });
  }

  /** One page of recorded events behind `after`, at most 1 000. */
  events(
    query: EventQuery & { after: number; limit?: number },
    options: Signalled = {},
  ): Promise<{ items: RecordedEvent[]; highestSeq: number }> {
    return this.#call({
      path: '/v1/events',
      query: { from: query.after, job: query.jobId, types: query.types?.join(','), limit: query.limit },
      headers: { accept: 'application/json' },
      signal: options.signal,
    });
  }

  /** Number of the newest recorded event: `follow({ after: await client.highestSeq() })` sees what comes. */
  async highestSeq(options: Signalled = {}): Promise<number> {
    return (await this.events({ after: 0, limit: 1 }, options)).highestSeq;
  }

  /** Events as they are recorded, each once and without a gap, across lost connections; see `followEvents`. */
  follow(options: FollowOptions & { after: number }): AsyncGenerator<RecordedEvent> {
    return followEvents(this.#http, options);
  }

  /** Repeats what may be repeated while the hub is away, for at most `patienceMs` on end. */
  async #patiently<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const { clock } = this.#env;
    const sinceMs = clock.monotonic();
    for (let pauseMs = 100; ; pauseMs = Math.min(2_000, pauseMs * 2)) {
      try {
        return await work();
      } catch (error) {
        const away =
          error instanceof HubUnreachable ||
          (error instanceof EmpError && error.code !== 'TIMEOUT' && error.fields['status'] === 503);
        if (!away || !this.#answered || clock.monotonic() - sinceMs + pauseMs > this.#patienceMs) throw error;
        await sleep(clock, pauseMs, signal);
      }
    }
  }
}

function filterQuery(query: JobQuery): Record<string, string | number | undefined> {
  return {
    state: query.states?.join(','),
    service: query.service,
    customer: query.customer,
    pool: query.pool,
    machineId: query.machineId,
    label: query.label,
    since: query.sinceMs,
  };
}
