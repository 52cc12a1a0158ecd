import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { InputRef, Job, JobSubmissionInput } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { HubClient } from '#runtime/client.ts';
import { type CommandContext, connect } from './context.ts';
import { CliError } from './errors.ts';
import { bar, bytes, duration } from './format.ts';
import { printable } from './output.ts';
import { startTime, withSetting } from './parse.ts';
import { type RequirementOptions, requirementsOf } from './run-requirements.ts';

export interface RunOptions extends RequirementOptions {
  file?: string;
  set?: string[];
  input?: string[];
  priority?: number;
  preemptible?: true;
  pool?: string;
  customer?: string;
  label?: [string, string][];
  id?: string;
  maxAttempts?: number;
  ttl?: number;
  maxRun?: number;
  notBefore?: string;
  wait?: true;
  download?: string;
  dryRun?: true;
}

/** Largest payload document that is read, bytes; the hub refuses more. */
const payloadLimitBytes = 1_048_576;

async function readStream(stream: Readable, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.byteLength;
    if (size > limit)
      throw new CliError('EMP-USAGE', `the payload on stdin is longer than ${limit} bytes`, {
        likely: 'a file was put into the payload',
        try: 'send files with --input',
      });
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The payload of `-f` with every `--set` applied to it, in order. */
export async function readPayload(
  options: Pick<RunOptions, 'file' | 'set'>,
  stdin: Readable,
): Promise<JsonObject> {
  let payload: unknown = {};
  if (options.file !== undefined) {
    const what = options.file === '-' ? 'stdin' : options.file;
    let text: string;
    try {
      text =
        options.file === '-'
          ? await readStream(stdin, payloadLimitBytes)
          : await readFile(options.file, 'utf8');
    } catch (error) {
      if (error instanceof CliError) throw error;
      throw new CliError(
        'EMP-USAGE',
        `cannot read the payload ${what}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
        { likely: 'the path is misspelt', try: '-f FILE, or -f - for stdin', cause: error },
      );
    }
    try {
      payload = JSON.parse(text);
    } catch (error) {
      throw new CliError('EMP-USAGE', `${what} is not JSON: ${(error as Error).message}`, {
        likely: 'a quote or comma is missing',
        try: 'mend the file',
        cause: error,
      });
    }
  }
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) {
    throw new CliError('EMP-USAGE', 'the payload is not a JSON object', {
      likely: 'it is a list or a single value',
      try: 'write {"field": value, …}',
    });
  }
  return (options.set ?? []).reduce(withSetting, payload as JsonObject);
}

/** The submission that the options describe, without its inputs. */
export async function submissionOf(
  service: string,
  options: RunOptions,
  stdin: Readable,
): Promise<JobSubmissionInput> {
  const requirements = requirementsOf(options);
  return {
    service,
    payload: await readPayload(options, stdin),
    ...(options.id === undefined ? {} : { id: options.id }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.preemptible === true ? { preemptible: true } : {}),
    ...(options.pool === undefined ? {} : { pool: options.pool }),
    ...(options.customer === undefined ? {} : { customer: options.customer }),
    ...(options.maxAttempts === undefined ? {} : { maxAttempts: options.maxAttempts }),
    ...(options.label === undefined ? {} : { labels: Object.fromEntries(options.label) }),
    ...(options.ttl === undefined ? {} : { ttlMs: options.ttl }),
    ...(options.maxRun === undefined ? {} : { maxRunMs: options.maxRun }),
    ...(options.notBefore === undefined ? {} : { notBefore: startTime(options.notBefore, Date.now()) }),
    ...(requirements === undefined ? {} : { requirements }),
  };
}

/** `emp run`: prints the id, or with `--wait` the result. */
export async function run(context: CommandContext, service: string, options: RunOptions): Promise<void> {
  const { out, signal } = context;
  const submission = await submissionOf(service, options, context.stdin);
  const client = await connect(context);
  if (options.dryRun) return await dryRun(context, client, submission);
  const inputs: InputRef[] = [];
  for (const path of options.input ?? []) {
    const input = await client.upload(path, { signal });
    out.detail(`uploaded ${path} as ${input.name}`);
    inputs.push(input);
  }
  const { job, created, warnings } = await client.submit({ ...submission, inputs }, { signal });
  for (const warning of warnings) out.note(`warning: ${printable(warning)}`);
  if (!created) out.note(`${printable(job.id)} was there already; nothing new was started`);
  if (!options.wait && options.download === undefined)
    return out.result(job, () => out.line(printable(job.id)));
  out.note(printable(`${job.id} submitted to pool ${job.pool}`));
  await report(context, client, await watch(context, client, job.id), options.download);
}

async function dryRun(
  context: CommandContext,
  client: HubClient,
  submission: JobSubmissionInput,
): Promise<void> {
  const { out } = context;
  const plan = await client.dryRun(submission, { signal: context.signal });
  out.result(plan, () => {
    out.line(printable(`pool            ${plan.pool}`));
    out.line(`machines now    ${plan.machinesNow}`);
    out.line(
      `expected start  ${plan.expectedStartMs === null ? 'unknown' : `in ${duration(plan.expectedStartMs)}`}`,
    );
    out.line(`expected run    ${duration(plan.expectedMs)}`);
  });
  for (const warning of plan.warnings) out.note(`warning: ${printable(warning)}`);
}

/** Waits for the end of a job and shows its progress where lines can be drawn again. */
async function watch(context: CommandContext, client: HubClient, jobId: string): Promise<Job> {
  const { out, signal } = context;
  const done = new AbortController();
  const shown = out.isLive
    ? showProgress(context, client, jobId, AbortSignal.any([signal, done.signal]))
    : Promise.resolve();
  try {
    return await client.wait(jobId, { signal });
  } catch (error) {
    if (error instanceof CliError && error.code === 'EMP-WAIT-TIMEOUT') {
      throw new CliError('EMP-WAIT-TIMEOUT', `${jobId} has not ended: ${error.message}`, {
        try: `emp job ${jobId}, or a longer --timeout`,
        cause: error,
      });
    }
    if (error instanceof CliError && error.code === 'EMP-INTERRUPTED') {
      throw new CliError('EMP-INTERRUPTED', `stopped waiting; ${jobId} goes on`, {
        try: `emp cancel ${jobId} to stop it, emp job ${jobId} to see it`,
        cause: error,
      });
    }
    throw error;
  } finally {
    done.abort();
    await shown;
    out.clearLive();
  }
}

/** Draws one line per event of the job. Progress is a courtesy: if its stream fails, the wait goes on. */
async function showProgress(
  context: CommandContext,
  client: HubClient,
  jobId: string,
  signal: AbortSignal,
): Promise<void> {
  const { out } = context;
  try {
    for await (const event of client.follow({ after: 0, jobId, signal })) {
      const fraction = event.data['progress'];
      const where = event.machineId === null ? '' : ` on ${event.machineId}`;
      if (event.type === 'job.progressed' && typeof fraction === 'number')
        out.live([`${bar(fraction)}${where}`]);
      else out.live([`${event.type.replace('job.', '')}${where}`]);
    }
  } catch (error) {
    if (!signal.aborted)
      out.detail(`no progress to show: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The error of a job that ended without success; with `--json` the job itself is printed, too. */
export function jobFailure(job: Job, data: unknown = job): CliError {
  const why =
    job.error === null
      ? (job.reason ?? 'no reason was recorded')
      : `${job.error.message} (${job.error.code})`;
  return new CliError('EMP-JOB-FAILED', `${job.id} ended as ${job.state}: ${why}`, {
    try: `emp job ${job.id} --timeline`,
    data,
  });
}

async function report(
  context: CommandContext,
  client: HubClient,
  job: Job,
  dir: string | undefined,
): Promise<void> {
  const { out } = context;
  if (job.state !== 'succeeded') throw jobFailure(job);
  const outputs = job.result?.outputs ?? [];
  const files: { name: string; path: string }[] = [];
  for (const output of dir === undefined ? [] : outputs) {
    files.push({
      name: output.name,
      path: await client.download(job.id, output, dir ?? '.', { signal: context.signal }),
    });
  }
  const took =
    job.startedAtMs === null || job.finishedAtMs === null ? null : job.finishedAtMs - job.startedAtMs;
  out.note(
    `${out.style('green', 'succeeded', 'stderr')} on ${printable(job.machineId ?? 'a machine')} in ${duration(took)}`,
  );
  out.result(dir === undefined ? job : { ...job, downloaded: files }, () => {
    for (const output of outputs) {
      const path = files.find((file) => file.name === output.name)?.path;
      out.line(
        printable(
          `${path ?? `${client.baseUrl}/v1/jobs/${job.id}/outputs/${output.name}`}  ${bytes(output.bytes)}`,
        ),
      );
    }
    if (outputs.length === 0 || context.options.verbose)
      out.line(printable(JSON.stringify(job.result?.data ?? null)));
  });
}
