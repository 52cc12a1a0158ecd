import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { type DemoFacts, demoFacts } from '#runtime/demo/facts.ts';
import { beforeAfterName, contactSheetName, demoJobs, demoMachines } from '#runtime/demo/plan.ts';
import { registerBuiltInModels } from '#runtime/demo/register-models.ts';
import { DemoJobFailed, type FinishedJob, runJobs } from '#runtime/demo/run-jobs.ts';
import { Fleet } from '#runtime/dev.ts';
import { aborted, type CommandContext } from './context.ts';
import { CliError } from './errors.ts';
import { bar, duration } from './format.ts';
import type { Output } from './output.ts';

export interface DemoOptions {
  out: string;
  keep?: true;
}

/** Longest that the demo may take without `--timeout`, ms: past it something is stuck. */
const limitMs = 300_000;

/** `emp demo`. */
export async function demo(context: CommandContext, options: DemoOptions): Promise<void> {
  const { out } = context;
  const outDir = resolve(options.out);
  await mkdir(outDir, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(
      'EMP-OUTPUT-FAILED',
      `cannot make the folder ${outDir}: ${error.code ?? error.message}`,
      { cause: error },
    );
  });
  const startedAtMs = performance.now();
  const scratch = await mkdtemp(join(tmpdir(), 'emp-demo-'));
  const deadline = new AbortController();
  const timer = setTimeout(
    () => deadline.abort(new CliError('EMP-WAIT-TIMEOUT', `the demo is not done after ${duration(limitMs)}`)),
    limitMs,
  );
  const signal = AbortSignal.any([context.signal, deadline.signal]);
  let fleet: Fleet | null = null;
  try {
    out.note('starting a hub and three machines');
    fleet = await startFleet({ ...context, signal }, scratch);
    out.note(`ready in ${duration(performance.now() - startedAtMs)}: ${fleet.url}`);
    const finished = await runAll({ ...context, signal }, fleet, outDir);
    clearTimeout(timer);
    summary(out, finished, outDir, performance.now() - startedAtMs);
    if (options.keep) await keep(context, fleet);
  } catch (error) {
    if (error instanceof DemoJobFailed)
      throw new CliError('EMP-JOB-FAILED', error.message, {
        try: 'emp demo -v, which shows what the processes log',
        data: error.job,
      });
    throw error;
  } finally {
    clearTimeout(timer);
    await fleet?.stop();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function startFleet({ out, signal }: CommandContext, scratch: string): Promise<Fleet> {
  return await Fleet.start({
    hub: { port: 0, dataDir: join(scratch, 'hub') },
    machines: demoMachines,
    machinesDir: join(scratch, 'machines'),
    prepare: async (client) => void (await registerBuiltInModels(client, { signal })),
    onLog: (process, line) => out.detail(`${process}: ${line}`),
    signal,
  });
}

/** Runs the plan; a process that ends in the middle fails it at once. */
async function runAll(context: CommandContext, fleet: Fleet, outDir: string): Promise<FinishedJob[]> {
  const { out } = context;
  const died = new AbortController();
  const done = new AbortController();
  void fleet
    .firstEnd()
    .then((child) => died.abort(new CliError('EMP-CHILD-FAILED', child.failure().message)));
  const signal = AbortSignal.any([context.signal, died.signal]);
  const board = new Board(out, demoJobs.length);
  const after = await fleet.client.highestSeq({ signal });
  const shown = follow(board, fleet, after, AbortSignal.any([signal, done.signal]));
  try {
    return await runJobs({
      client: fleet.client,
      plan: demoJobs,
      outDir,
      signal,
      onSubmitted: (plan, jobId) => board.names.set(jobId, plan.name),
      onFinished: (finished) => board.finished(finished),
    });
  } finally {
    done.abort();
    await shown;
    out.clearLive();
  }
}

async function follow(board: Board, fleet: Fleet, after: number, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of fleet.client.follow({ after, signal })) {
      if (event.jobId === null || event.machineId === null) continue;
      const progress = event.data['progress'];
      if (event.type === 'job.leased') board.runs(event.jobId, event.machineId, 0);
      else if (event.type === 'job.progressed' && typeof progress === 'number')
        board.runs(event.jobId, event.machineId, progress);
      else board.ends(event.jobId);
    }
  } catch (error) {
    // Pictures matter, the moving lines do not.
    if (!signal.aborted)
      board.out.detail(`no progress to show: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What runs now, drawn in place on a terminal; elsewhere one line for each job with pictures. */
class Board {
  readonly out: Output;
  readonly names = new Map<string, string>();
  readonly #total: number;
  readonly #running = new Map<string, { machineId: string; fraction: number }>();
  #done = 0;

  constructor(out: Output, total: number) {
    this.out = out;
    this.#total = total;
  }

  runs(jobId: string, machineId: string, fraction: number): void {
    this.#running.set(jobId, { machineId, fraction });
    this.#draw();
  }

  ends(jobId: string): void {
    this.#running.delete(jobId);
    this.#draw();
  }

  finished({ plan, job, files }: FinishedJob): void {
    this.#done += 1;
    this.#running.delete(job.id);
    if (files.length > 0 || this.#done === this.#total) {
      const waited = duration((job.startedAtMs ?? job.submittedAtMs) - job.submittedAtMs);
      const ran = duration((job.finishedAtMs ?? 0) - (job.startedAtMs ?? 0));
      this.out.note(
        `[${String(this.#done).padStart(2)}/${this.#total}] ${plan.name}: ${job.machineId ?? '?'}, waited ${waited}, ran ${ran}`,
      );
    }
    this.#draw();
  }

  #draw(): void {
    const lines = [...this.#running].map(
      ([jobId, { machineId, fraction }]) =>
        `  ${machineId.padEnd(15)} ${bar(fraction)} ${this.names.get(jobId) ?? jobId}`,
    );
    this.out.live([`${bar(this.#done / this.#total)} ${this.#done} of ${this.#total} jobs`, ...lines.sort()]);
  }
}

function summary(out: Output, finished: FinishedJob[], outDir: string, tookMs: number): void {
  const facts = demoFacts(finished);
  const pictures = finished.flatMap(({ files }) => files);
  const report = { tookMs: Math.round(tookMs), outDir, pictures, ...facts };
  out.result(report, () => {
    const near = relative(process.cwd(), outDir);
    const dir = near === '' ? '.' : near.startsWith('..') ? outDir : near;
    out.line();
    out.line(
      `${out.style('bold', `${facts.jobs} jobs done in ${duration(tookMs)}`)}, ${facts.retries} repeated; ${pictures.length} pictures in ${dir}/`,
    );
    for (const line of factLines(facts)) out.line(`  ${line}`);
    out.line();
    out.line(
      `Look at ${out.style('cyan', join(dir, beforeAfterName))} (plain enlargement beside the network)`,
    );
    out.line(`    and ${out.style('cyan', join(dir, contactSheetName))}`);
    out.line('Go on: emp dev, then emp run upscale --input YOUR.jpg --download .   (docs/cli.md)');
  });
}

function factLines(facts: DemoFacts): string[] {
  return [
    `wait until claimed: median ${duration(facts.wait.p50Ms)}, longest ${duration(facts.wait.maxMs)}`,
    ...facts.machines.map(
      ({ machineId, jobs, busyMs }) => `${machineId}: ${jobs} jobs, ${duration(busyMs)} of work`,
    ),
    ...facts.firstRuns.map(
      ({ modelId, machineId, prepareMs, loadMs, computeMs }) =>
        `${modelId} first on ${machineId}: fetch and files ${duration(prepareMs)}, load ${duration(loadMs)}, compute ${duration(computeMs)}`,
    ),
  ];
}

async function keep({ out, signal }: CommandContext, fleet: Fleet): Promise<void> {
  out.note(`hub and machines go on at ${fleet.url}: emp --hub ${fleet.url} jobs. Ctrl-C ends them.`);
  await Promise.race([fleet.firstEnd(), aborted(signal)]);
}
