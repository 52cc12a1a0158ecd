import { sleep } from '#protocol/env.ts';
import { isTerminal } from '#protocol/job.ts';
import type { RecordedEvent } from '#protocol/records.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import type { Fleet, MachineSpec } from '#runtime/dev.ts';
import { systemClock } from '#runtime/env.ts';
import { closeRestMsOf, readHubConfig } from '#runtime/hub-config.ts';
import { percentile } from '#runtime/percentile.ts';
import { benchEnv, figure, withFleet } from './bench/bench-fleet.ts';

const killsFull = 20;
const leaseTtlMs = 1_000;
const settings = { EMP_LEASE_TTL_MS: String(leaseTtlMs) };
/** Long enough that a job is still in its middle when its machine is killed. */
const jobMs = 1_500;
/** One machine is killed at a time; the other two have a slot free for its job. */
const machineCount = 3;

interface Kill {
  kill: number;
  jobId: string;
  /** From the end of the lease to the next run's claim, ms. */
  afterExpiryMs: number;
  /** From the kill to the next run's claim, ms. */
  afterKillMs: number;
}

/**
 * Kills a machine in the middle of its job, again and again, and measures from the end of the lease to
 * the start of the job's next run. A killed machine's socket closes at once, which leaves its lease
 * what `closeRestMsOf` says; times are by the clock of this computer, which the hub shares.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const kills = Math.max(1, Math.round(killsFull * host.scale));
  const restMs = closeRestMsOf(readHubConfig({ variables: settings, flags: {} }));
  const machines = Array.from({ length: machineCount }, (_, index) => spec(index));
  return await withFleet(host, { hub: { port: 0, dataDir: null, settings }, machines }, async (fleet) => {
    const events: RecordedEvent[] = [];
    const stop = new AbortController();
    const signal = AbortSignal.any([host.signal, stop.signal]);
    const recorded = record(fleet, events, signal);
    const measured: Kill[] = [];
    const jobIds: string[] = [];
    for (let kill = 1; kill <= kills; kill++) {
      const { job } = await fleet.client.submit(
        { service: 'simulation', payload: { durationMs: jobMs, progressSteps: 10 } },
        { signal: host.signal },
      );
      jobIds.push(job.id);
      const killed = await killHolder(host, fleet, events, job.id);
      const next = await seen(
        host,
        events,
        (event) => event.type === 'job.leased' && event.jobId === job.id && event.atMs > killed.atMs,
      );
      const afterKillMs = next.atMs - killed.atMs;
      measured.push({ kill, jobId: job.id, afterKillMs, afterExpiryMs: afterKillMs - restMs });
      host.note(
        `kill ${kill} of ${kills}: ${killed.machineId}; its job ran again ${Math.round(afterKillMs)} ms later on ${next.machineId ?? '?'}`,
      );
      await fleet.addMachine({ ...spec(machineCount + kill - 1) });
    }
    const ended = await Promise.all(jobIds.map((id) => fleet.client.wait(id, { signal: host.signal })));
    const timelines = await Promise.all(
      jobIds.map((id) => fleet.client.timeline(id, { signal: host.signal })),
    );
    stop.abort();
    await recorded;
    const lost = ended.filter((job) => !isTerminal(job.state) || job.state !== 'succeeded').length;
    const doubled = timelines.filter(
      ({ runs }) => runs.filter((run) => run.outcome === 'succeeded').length > 1,
    ).length;
    const sorted = measured.map(({ afterExpiryMs }) => afterExpiryMs).sort((a, b) => a - b);
    return {
      bench: 'recovery',
      figures: {
        restartAfterExpiryMs: figure(percentile(sorted, 0.99), 'ms', { atMost: 1_000 }),
        lost: figure(lost, 'jobs', { atMost: 0 }),
        doubled: figure(doubled, 'jobs', { atMost: 0 }),
      },
      rows: measured.map(({ kill, afterExpiryMs, afterKillMs }) => ({
        kill,
        afterExpiryMs: Math.round(afterExpiryMs),
        afterKillMs: Math.round(afterKillMs),
      })),
      env: benchEnv(),
    };
  });
}

function spec(index: number): MachineSpec {
  return { id: `recovery-${index}`, pool: 'fast-lane', services: ['simulation:1'] };
}

/** Waits until the job makes progress, then kills the machine that runs it. */
async function killHolder(
  host: BenchHost,
  fleet: Fleet,
  events: RecordedEvent[],
  jobId: string,
): Promise<{ machineId: string; atMs: number }> {
  const event = await seen(
    host,
    events,
    (candidate) => candidate.type === 'job.progressed' && candidate.jobId === jobId,
  );
  const holder = fleet.machines.find(
    ({ name, isRunning }) => isRunning && name === `machine ${event.machineId}`,
  );
  if (holder === undefined) throw new Error(`${event.machineId} holds ${jobId} but is none of ours`);
  const atMs = systemClock.now();
  holder.kill('SIGKILL');
  await holder.ended;
  return { machineId: event.machineId ?? '?', atMs };
}

async function record(fleet: Fleet, events: RecordedEvent[], signal: AbortSignal): Promise<void> {
  for await (const event of fleet.client.follow({ after: 0, signal })) events.push(event);
}

/** The first recorded event that matches, waited for. */
async function seen(
  host: BenchHost,
  events: RecordedEvent[],
  matches: (event: RecordedEvent) => boolean,
): Promise<RecordedEvent> {
  for (;;) {
    const found = events.find(matches);
    if (found !== undefined) return found;
    await sleep(systemClock, 5, host.signal);
  }
}
