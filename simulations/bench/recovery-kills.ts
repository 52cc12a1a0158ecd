import { sleep } from '#protocol/env.ts';
import { isTerminal } from '#protocol/job.ts';
import type { RecordedEvent } from '#protocol/records.ts';
import type { BenchHost } from '#runtime/cli/bench.ts';
import type { HubClient } from '#runtime/client.ts';
import { systemClock } from '#runtime/env.ts';

/** Real machines beside a hub, one of which can be killed. Two of them are free while a third is not. */
export interface KillRig {
  client: HubClient;
  /** Kills the machine's process; resolves when it is gone, with the time just before, ms since 1970. */
  kill(machineId: string): Promise<number>;
  /** Starts a machine in the place of one that was killed; resolves when it may claim. */
  replace(machineId: string): Promise<void>;
}

export type Kill = {
  kill: number;
  /** From the end of the lease to the next run's claim, ms. */
  afterExpiryMs: number;
  /** From the kill to the next run's claim, ms. */
  afterKillMs: number;
};

export interface KillReport {
  kills: Kill[];
  /** Jobs without success at the end. */
  lost: number;
  /** Jobs with two runs that succeeded. */
  doubled: number;
}

/** Long enough that a job is still in its middle when its machine is killed. */
const jobMs = 1_500;

/**
 * Kills the machine that runs a job in the middle of it, again and again, and measures until the job's
 * next run is claimed. `restMs` is what the closed socket of a killed machine leaves of its lease.
 */
export async function measureKills(
  host: BenchHost,
  rig: KillRig,
  options: { kills: number; restMs: number },
): Promise<KillReport> {
  const events: RecordedEvent[] = [];
  const stop = new AbortController();
  const signal = AbortSignal.any([host.signal, stop.signal]);
  const recorded = record(rig.client, events, signal);
  const seen = (matches: (event: RecordedEvent) => boolean) => untilSeen(host, events, matches);
  const kills: Kill[] = [];
  const jobIds: string[] = [];
  for (let kill = 1; kill <= options.kills; kill++) {
    const { job } = await rig.client.submit(
      { service: 'simulation', payload: { durationMs: jobMs, progressSteps: 10 } },
      { signal: host.signal },
    );
    jobIds.push(job.id);
    const begun = await seen(({ type, jobId }) => type === 'job.progressed' && jobId === job.id);
    const machineId = begun.machineId ?? '';
    const atMs = await rig.kill(machineId);
    const next = await seen(
      (event) => event.type === 'job.leased' && event.jobId === job.id && event.atMs > atMs,
    );
    const afterKillMs = next.atMs - atMs;
    kills.push({ kill, afterExpiryMs: afterKillMs - options.restMs, afterKillMs });
    host.note(
      `kill ${kill} of ${options.kills}: ${machineId}; its job ran again ${Math.round(afterKillMs)} ms later on ${next.machineId ?? '?'}`,
    );
    await rig.replace(machineId);
  }
  const ended = await Promise.all(jobIds.map((id) => rig.client.wait(id, { signal: host.signal })));
  const timelines = await Promise.all(jobIds.map((id) => rig.client.timeline(id, { signal: host.signal })));
  stop.abort();
  await recorded;
  const lost = ended.filter((job) => !isTerminal(job.state) || job.state !== 'succeeded').length;
  const doubled = timelines.filter(
    ({ runs }) => runs.filter((run) => run.outcome === 'succeeded').length > 1,
  ).length;
  return { kills, lost, doubled };
}

async function record(client: HubClient, events: RecordedEvent[], signal: AbortSignal): Promise<void> {
  for await (const event of client.follow({ after: 0, signal })) events.push(event);
}

/** The first recorded event that matches, waited for. */
async function untilSeen(
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
