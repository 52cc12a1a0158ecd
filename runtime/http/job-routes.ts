import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { isTerminal, type Job, JobState } from '#protocol/job.ts';
import { CustomerName, FileName, JobId, MachineId, PoolName, ServiceName } from '#protocol/names.ts';
import { signedUrlLimitMs } from '#protocol/objects.ts';
import type { JobFilter } from '#protocol/records.ts';
import { cancelJob } from '#runtime/hub/cancel.ts';
import { dryRunJob } from '#runtime/hub/dry-run.ts';
import { explainJob } from '#runtime/hub/explain.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { requeueJob } from '#runtime/hub/requeue.ts';
import { batchJobsLimit, submitBatch, submitJob } from '#runtime/hub/submit.ts';
import type { HttpApp } from './http-app.ts';
import { keyedSubmissions } from './idempotency-key.ts';
import {
  baseUrlOf,
  Flag,
  listOf,
  parseBody,
  parsePath,
  parseQuery,
  traceparentOf,
  warningsOf,
  wholeNumber,
} from './request-checks.ts';

/** Longest long-poll, ms. */
const waitLimitMs = 60_000;
const pageLimit = 500;

const JobPath = z.strictObject({ id: JobId });
const OutputPath = z.strictObject({ id: JobId, name: FileName });
const filterFields = {
  state: listOf(JobState).optional(),
  service: ServiceName.optional(),
  customer: CustomerName.optional(),
  pool: PoolName.optional(),
  machineId: MachineId.optional(),
  label: z
    .string()
    .regex(/^[^:]{1,64}:.{0,256}$/, 'a label filter has the form key:value')
    .optional(),
  since: wholeNumber(0, 9_999_999_999_999).optional(),
};
const CountQuery = z.strictObject(filterFields);
const ListQuery = z.strictObject({
  ...filterFields,
  limit: wholeNumber(1, pageLimit).default(50),
  cursor: z.string().max(256).optional(),
});
const GetQuery = z.strictObject({ waitMs: wholeNumber(0, waitLimitMs).default(0) });
const SubmitQuery = z.strictObject({ dryRun: Flag.default(false) });
const Nothing = z.strictObject({});
/** Each job is judged on its own, so that every wrong field of every job is named. */
const BatchBody = z.strictObject({ jobs: z.array(z.unknown()).min(1).max(batchJobsLimit) });

function filterOf(query: z.infer<typeof CountQuery>): JobFilter {
  const { state, service, customer, pool, machineId, label, since } = query;
  const colon = label?.indexOf(':') ?? -1;
  return {
    ...(state && { state }),
    ...(service !== undefined && { service }),
    ...(customer !== undefined && { customer }),
    ...(pool !== undefined && { pool }),
    ...(machineId !== undefined && { machineId }),
    ...(label !== undefined && { label: { key: label.slice(0, colon), value: label.slice(colon + 1) } }),
    ...(since !== undefined && { submittedAfterMs: since }),
  };
}

async function mustGet(hub: Hub, jobId: string): Promise<Job> {
  const job = await hub.records.getJob(jobId);
  if (job === null)
    throw new EmpError('NOT_FOUND', { detail: `No job ${jobId} is known`, fields: { jobId } });
  return job;
}

/** Resolves when the job is terminal, the time is up, or the client has gone. */
async function waitFor(
  hub: Hub,
  options: { jobId: string; waitMs: number; signal: AbortSignal },
): Promise<Job> {
  const { clock } = hub.env;
  const untilMs = clock.monotonic() + options.waitMs;
  for (;;) {
    // Read before the row: an event between the two is newer than this and ends the wait at once.
    const seen = hub.events.highest;
    const job = await mustGet(hub, options.jobId);
    const leftMs = untilMs - clock.monotonic();
    if (isTerminal(job.state) || leftMs <= 0 || options.signal.aborted || hub.stopping) return job;
    await hub.events.ofJob({ jobId: options.jobId, after: seen, waitMs: leftMs, signal: options.signal });
  }
}

/** Aborts when the client hangs up before the answer. */
export function hangUpSignal(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  request.raw.socket.once('close', () => gone.abort());
  reply.raw.once('close', () => gone.abort());
  return gone.signal;
}

export function jobRoutes(app: HttpApp, hub: Hub): void {
  app.post('/v1/jobs', async (request, reply) => {
    const { dryRun } = parseQuery(SubmitQuery, request);
    if (dryRun) return await dryRunJob(hub, request.body);
    const [document] = keyedSubmissions(request, [request.body]);
    const { created, job, warnings } = await submitJob(hub, document, {
      traceparent: traceparentOf(request.raw.headers),
    });
    reply.code(created ? 201 : 200).header('location', `/v1/jobs/${job.id}`);
    return { job, ...warningsOf(warnings) };
  });
  app.post('/v1/jobs/batch', async (request, reply) => {
    const { jobs } = parseBody(BatchBody, request);
    const submitted = await submitBatch(hub, keyedSubmissions(request, jobs), {
      traceparent: traceparentOf(request.raw.headers),
    });
    reply.code(201);
    return { items: submitted.map(({ created, job }) => ({ created, job })) };
  });
  app.get('/v1/jobs', async (request) => {
    const { limit, cursor = null, ...filter } = parseQuery(ListQuery, request);
    return await hub.records.listJobs({ filter: filterOf(filter), limit, cursor });
  });
  app.get('/v1/jobs/count', async (request) => ({
    counts: await hub.records.countJobs(filterOf(parseQuery(CountQuery, request))),
  }));
  app.get('/v1/jobs/:id', async (request, reply) => {
    const { id } = parsePath(JobPath, request);
    const { waitMs } = parseQuery(GetQuery, request);
    const job =
      waitMs === 0
        ? await mustGet(hub, id)
        : await waitFor(hub, { jobId: id, waitMs, signal: hangUpSignal(request, reply) });
    return { job };
  });
  app.get('/v1/jobs/:id/timeline', async (request) => {
    const { id } = parsePath(JobPath, request);
    const job = await mustGet(hub, id);
    const { transitions, runs } = await hub.records.timeline(id);
    return { job, transitions, runs, broker: await brokerView(hub, id) };
  });
  app.get('/v1/jobs/:id/explain', async (request) => {
    const { id } = parsePath(JobPath, request);
    return await explainJob(hub, id);
  });
  app.post('/v1/jobs/:id/cancel', async (request, reply) => {
    const { id } = parsePath(JobPath, request);
    parseBody(Nothing, request);
    reply.code(202);
    return await cancelJob(hub, id, 'client');
  });
  app.post('/v1/jobs/:id/requeue', async (request) => {
    const { id } = parsePath(JobPath, request);
    parseBody(Nothing, request);
    return { job: await requeueJob(hub, id, 'operator') };
  });
  resultRoutes(app, hub);
}

function resultRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/jobs/:id/preview', async (request, reply) => {
    const { id } = parsePath(JobPath, request);
    const preview = await hub.records.getPreview(id);
    if (preview === null) throw new EmpError('NOT_FOUND', { detail: `No preview of job ${id} is kept` });
    reply.type(preview.mime).header('cache-control', 'no-store');
    return reply.send(Buffer.from(preview.bytes));
  });
  app.get('/v1/jobs/:id/outputs/:name', async (request, reply) => {
    const { id, name } = parsePath(OutputPath, request);
    const job = await mustGet(hub, id);
    const output = job.result?.outputs.find((each) => each.name === name);
    if (output === undefined) {
      const names = job.result?.outputs.map((each) => each.name).join(', ') ?? `none: it is ${job.state}`;
      throw new EmpError('NOT_FOUND', { detail: `Job ${id} has no output ${name}; its outputs: ${names}` });
    }
    const url = await hub.objects.signGet({
      key: output.object,
      expiresInMs: signedUrlLimitMs,
      baseUrl: baseUrlOf(request.raw.headers),
      downloadName: name,
    });
    return reply.header('cache-control', 'no-store').redirect(url, 302);
  });
}

/** What the Broker says of a job is a help for people: without it the rest is still shown. */
async function brokerView(hub: Hub, jobId: string) {
  try {
    return await hub.broker.inspect(jobId);
  } catch (error) {
    hub.env.log.warn('broker.inspect.failed', {
      jobId,
      detail: toEmpError(error, 'BROKER_UNAVAILABLE').message,
    });
    return null;
  }
}
