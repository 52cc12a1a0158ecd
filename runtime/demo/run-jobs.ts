import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EmpError } from '#protocol/errors.ts';
import type { InputRef, Job, JobSubmissionInput } from '#protocol/job.ts';
import type { HubClient } from '#runtime/client.ts';
import { type DemoInput, type DemoJob, demoPhotos } from './plan.ts';

/** A job of the plan that has succeeded, with the files that were kept of it. */
export interface FinishedJob {
  plan: DemoJob;
  job: Job;
  files: string[];
}

export interface RunJobsOptions {
  client: HubClient;
  plan: readonly DemoJob[];
  outDir: string;
  signal: AbortSignal;
  /** Told of each accepted submission, so that events can be shown under the job's name. */
  onSubmitted: (plan: DemoJob, jobId: string) => void;
  onFinished: (finished: FinishedJob) => void;
}

/** The job that ended without success, and what the demo called it. */
export class DemoJobFailed extends Error {
  readonly job: Job;

  constructor(plan: DemoJob, job: Job) {
    const why =
      job.error === null
        ? (job.reason ?? 'no reason was recorded')
        : `${job.error.message} (${job.error.code})`;
    super(`${plan.name} (${job.id}) ended as ${job.state}: ${why}`);
    this.name = 'DemoJobFailed';
    this.job = job;
  }
}

/** Names of the jobs whose files a job needs. */
function needs(plan: DemoJob): string[] {
  return plan.inputs.flatMap((input) => ('job' in input ? [input.job] : []));
}

/**
 * Runs the whole plan: uploads the photos, submits in one batch what needs nothing else, submits the
 * rest as soon as what it needs has succeeded, and fetches every result as it is there. The first job
 * that does not succeed ends it (`DemoJobFailed`).
 */
export async function runJobs(options: RunJobsOptions): Promise<FinishedJob[]> {
  const { client, plan, signal } = options;
  const scratch = await mkdtemp(join(tmpdir(), 'emp-demo-files-'));
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  try {
    const photos = new Map<string, InputRef>();
    for (const name of demoPhotos) {
      const path = fileURLToPath(new URL(`./photos/${name}`, import.meta.url));
      photos.set(name, await client.upload(path, { signal }));
    }
    const finished = new Map<string, Promise<FinishedJob>>();
    const inputOf = async (input: DemoInput): Promise<InputRef> => {
      if ('photo' in input) {
        const ref = photos.get(input.photo);
        if (ref === undefined)
          throw new EmpError('INTERNAL', { detail: `the plan names an unknown photo ${input.photo}` });
        return ref;
      }
      const from = await finished.get(input.job);
      const output = from?.job.result?.outputs.find(({ name }) => name === input.output);
      if (from === undefined || output === undefined)
        throw new EmpError('INTERNAL', {
          detail: `the plan names an unknown file ${input.job}/${input.output}`,
        });
      const path = await client.download(from.job.id, output, scratch, {
        fileName: `${from.job.id}-${input.name}`,
        signal: both,
      });
      return await client.upload(path, { name: input.name, signal: both });
    };
    const finish = async (job: DemoJob, jobId: string): Promise<FinishedJob> => {
      options.onSubmitted(job, jobId);
      const ended = await client.wait(jobId, { signal: both });
      if (ended.state !== 'succeeded') throw new DemoJobFailed(job, ended);
      const done = { plan: job, job: ended, files: await save(options, job, ended, both) };
      options.onFinished(done);
      return done;
    };
    const first = plan.filter((job) => needs(job).length === 0);
    const accepted = await client.submitBatch(
      await Promise.all(first.map((job) => submissionOf(job, inputOf))),
      { signal },
    );
    for (const [index, job] of first.entries())
      finished.set(job.name, finish(job, accepted[index]?.job.id ?? ''));
    // In the order of the plan: a job comes after those that it needs.
    for (const job of plan.filter((later) => !first.includes(later))) {
      finished.set(
        job.name,
        (async () => {
          const submission = await submissionOf(job, inputOf);
          return await finish(job, (await client.submit(submission, { signal: both })).job.id);
        })(),
      );
    }
    return await Promise.all(finished.values());
  } finally {
    failed.abort(new EmpError('JOB_CANCELLED', { detail: 'another job of the demo failed' }));
    await rm(scratch, { recursive: true, force: true });
  }
}

async function submissionOf(
  job: DemoJob,
  inputOf: (input: DemoInput) => Promise<InputRef>,
): Promise<JobSubmissionInput> {
  return {
    service: job.service,
    pool: job.pool,
    payload: job.payload,
    inputs: await Promise.all(job.inputs.map(inputOf)),
    labels: { demo: job.name },
    ...(job.priority === undefined ? {} : { priority: job.priority }),
    ...(job.tags === undefined ? {} : { requirements: { tags: job.tags } }),
  };
}

async function save(
  options: RunJobsOptions,
  plan: DemoJob,
  job: Job,
  signal: AbortSignal,
): Promise<string[]> {
  const files: string[] = [];
  for (const { output: name, as } of plan.saves) {
    const output = job.result?.outputs.find((candidate) => candidate.name === name);
    if (output === undefined)
      throw new EmpError('OUTPUT_MISSING', { detail: `${plan.name} made no ${name}` });
    files.push(await options.client.download(job.id, output, options.outDir, { fileName: as, signal }));
  }
  return files;
}
