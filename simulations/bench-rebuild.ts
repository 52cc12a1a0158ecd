import { sleep } from '#protocol/env.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { submitBatch } from '#runtime/hub/submit.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { openRebuildRig, type RebuildRig } from './bench/rebuild-rig.ts';

const jobsFull = 100_000;
const lossesFull = 3;
const jobsPerBatch = 1_000;
const laterFull = 1_000;
/** Rebuilt jobs wait this long after the opening; later ones are claimed in it. */
const leaseTtlMs = 20_000;

type Row = {
  loss: number;
  jobs: number;
  seconds: number;
  jobsPerSecond: number;
  /** What the hub has computed meanwhile: the same on every host of one kind, however busy. */
  hubCpuUsPerJob: number;
  /** Longest that the hub's event loop was late meanwhile: what a beat would have waited. */
  loopDelayMs: number;
  /** Of the jobs submitted after the opening: claimed before the first rebuilt one was due. */
  laterClaimed: number;
};

/**
 * Empties Redis under a hub with 100 000 waiting jobs and measures how fast Records rebuild it: from
 * the first step of the full reconcile to the opening. Then submits and claims more, while what was
 * there at the loss waits out its lease time: only later jobs may be handed out, and all of them.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const rig = await openRebuildRig({ leaseTtlMs, signal: host.signal });
  try {
    const count = Math.max(jobsPerBatch, Math.round(jobsFull * host.scale));
    const later = Math.max(10, Math.round(laterFull * host.scale));
    host.note(`${count} waiting jobs go into PostgreSQL and Redis`);
    await submit(rig, { count, label: 'first', signal: host.signal });
    const rows: Row[] = [];
    for (let loss = 1; loss <= Math.max(1, Math.round(lossesFull * host.scale)); loss++) {
      rows.push(await lose(rig, { loss, later, signal: host.signal }));
      host.note(`loss ${loss}: ${Math.round(rows.at(-1)?.jobsPerSecond ?? 0)} jobs a second`);
    }
    const { waiting, leased } = await rig.broker.stats();
    return {
      bench: 'rebuild',
      figures: {
        jobsPerSecond: figure(median(rows.map((row) => row.jobsPerSecond)), '/s', { atLeast: 20_000 }),
        loopDelayMs: figure(Math.max(...rows.map((row) => row.loopDelayMs)), 'ms', { atMost: 1_000 }),
        laterClaimed: figure(Math.min(...rows.map((row) => row.laterClaimed)), 'x', { atLeast: 1 }),
        lost: figure(count + rows.length * later - waiting - leased, 'jobs', { atMost: 0 }),
      },
      rows,
      env: {
        ...benchEnv(),
        redis: /^redis_version:(\S+)/m.exec(await rig.redis.info('server'))?.[1] ?? null,
      },
    };
  } finally {
    await rig.close();
  }
}

/** Through the verb that HTTP uses: rows and entries are those of real jobs. */
async function submit(
  rig: RebuildRig,
  options: { count: number; label: string; signal: AbortSignal },
): Promise<void> {
  for (let done = 0; done < options.count; done += jobsPerBatch) {
    options.signal.throwIfAborted();
    const documents = Array.from({ length: Math.min(jobsPerBatch, options.count - done) }, (_, index) => ({
      id: `${options.label}-${done + index}`,
      service: 'simulation',
      payload: { durationMs: 1_000, progressSteps: 4 },
      customer: `customer-${index % 20}`,
    }));
    await submitBatch(rig.hub, documents, { traceparent: null });
  }
}

async function lose(
  rig: RebuildRig,
  options: { loss: number; later: number; signal: AbortSignal },
): Promise<Row> {
  const { loss, later, signal } = options;
  const { waiting, leased } = await rig.broker.stats();
  const jobs = waiting + leased;
  rig.forget();
  await rig.redis.flushall();
  const watch = new AbortController();
  const delays = loopDelay(watch.signal);
  // A hub notices at its next step; the time counts from there.
  rig.hub.poke.reconciler();
  const startedMs = await rig.logged('reconcile.started');
  const cpuBeforeMs = await cpuMs(process.pid);
  const openedMs = await rig.logged('reconcile.opened');
  const hubCpuUsPerJob = Math.round((((await cpuMs(process.pid)) - cpuBeforeMs) * 1_000) / jobs);
  watch.abort();
  const loopDelayMs = await delays;
  const label = `later-${loss}`;
  await submit(rig, { count: later, label, signal });
  const laterClaimed = (await claimAll(rig, { label, loss, untilMs: openedMs + leaseTtlMs })) / later;
  const seconds = (openedMs - startedMs) / 1_000;
  return { loss, jobs, seconds, jobsPerSecond: jobs / seconds, hubCpuUsPerJob, loopDelayMs, laterClaimed };
}

/** Claims until nothing is handed out. Throws where a job is handed out that should wait. */
async function claimAll(
  rig: RebuildRig,
  options: { label: string; loss: number; untilMs: number },
): Promise<number> {
  const machine = { machineId: 'bench', incarnation: options.loss };
  await rig.broker.enrol(machine);
  const groups = rig.hub.groups.busiest().map((group) => ({ group, penaltyMs: 0 }));
  for (let claimed = 0; ; claimed++) {
    const answer = await rig.broker.claim({
      ...machine,
      requestId: claimed + 1,
      groups,
      warmLanes: [],
      classId: 'bench',
    });
    if (answer.kind !== 'leased') return claimed;
    const { jobId } = answer.lease;
    if (systemClock.monotonic() < options.untilMs && !jobId.startsWith(options.label))
      throw new Error(`${jobId} was handed out although its lease time had not passed`);
  }
}

const tickMs = 10;

/** The longest that a timer of 10 ms was late until the signal, ms. */
async function loopDelay(signal: AbortSignal): Promise<number> {
  let longestMs = 0;
  while (!signal.aborted) {
    const startMs = systemClock.monotonic();
    await sleep(systemClock, tickMs);
    longestMs = Math.max(longestMs, systemClock.monotonic() - startMs - tickMs);
  }
  return longestMs;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
