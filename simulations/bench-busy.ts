import { join } from 'node:path';
import type { JobSubmissionInput } from '#protocol/job.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { type Fleet, startMachine, untilReady } from '#runtime/dev.ts';
import { systemClock } from '#runtime/env.ts';
import { benchEnv, figure, withFleet } from './bench/bench-fleet.ts';
import { TcpProxy } from './bench/tcp-proxy.ts';

const jobsFull = 60;
const jobMs = 1_000;
const wanResultBytes = 2_000_000;
/** 80 ms round trip, 20 Mbit/s. */
const wan = { rttMs: 80, bitsPerMs: 20_000 };

interface Measured {
  kind: string;
  jobs: number;
  wallMs: number;
  utilisation: number;
  upBytes: number;
}

/**
 * Share of one slot's time that one-second jobs keep busy, claimed and completed by one real machine
 * process: on loopback, and behind a slow link with results of 2 MB, which then go up while the next
 * job runs. Wall time is from the first claim to the last commit, by the hub's clock.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const jobs = Math.max(3, Math.round(jobsFull * host.scale));
  return await withFleet(host, {}, async (fleet, dir) => {
    host.note(`${jobs} jobs of one second on loopback`);
    const near = await measure(host, fleet, { kind: 'loopback', dir, jobs, outputBytes: 0, url: fleet.url });
    host.note(
      `${jobs} jobs of one second behind ${wan.rttMs} ms and ${wan.bitsPerMs / 1_000} Mbit/s, results of ${wanResultBytes / 1e6} MB`,
    );
    const target = new URL(fleet.url);
    const proxy = new TcpProxy({
      clock: systemClock,
      shape: wan,
      target: { host: target.hostname, port: Number(target.port) },
    });
    try {
      const url = `http://127.0.0.1:${await proxy.listen()}`;
      const slow = { dir, jobs, outputBytes: wanResultBytes, url };
      const far = await measure(host, fleet, { ...slow, kind: 'wan' });
      far.upBytes = proxy.bytes.up;
      return {
        bench: 'busy',
        figures: {
          utilisation: figure(near.utilisation, '', { atLeast: 0.95 }),
          utilisationWan: figure(far.utilisation, '', { atLeast: 0.9 }),
          // Less than the results themselves would mean that they took another way.
          wanResultsUp: figure(far.upBytes / (jobs * wanResultBytes), '', { atLeast: 1 }),
        },
        rows: [near, far].map(({ wallMs, utilisation, ...rest }) => ({
          ...rest,
          wallMs: Math.round(wallMs),
          utilisation: Math.round(utilisation * 1_000) / 1_000,
        })),
        env: benchEnv(),
      };
    } finally {
      await proxy.close();
    }
  });
}

interface MeasureOptions {
  kind: string;
  dir: string;
  jobs: number;
  outputBytes: number;
  /** How the machine reaches the hub. */
  url: string;
}

async function measure(host: BenchHost, fleet: Fleet, options: MeasureOptions): Promise<Measured> {
  const { client } = fleet;
  const { token } = await client.joinToken({ signal: host.signal });
  const machine = startMachine(options.url, {
    id: `busy-${options.kind}`,
    pool: 'fast-lane',
    services: ['simulation:1'],
    dataDir: join(options.dir, 'machines', options.kind),
    joinToken: token,
  });
  try {
    await untilReady(machine, host.signal);
    const submission = (durationMs: number): JobSubmissionInput => ({
      service: 'simulation',
      payload: {
        durationMs,
        progressSteps: 4,
        outputs: options.outputBytes > 0 ? 1 : 0,
        outputBytes: options.outputBytes,
      },
      labels: { bench: options.kind },
    });
    // The first job opens what stays open afterwards: connections, code, folders.
    await client.wait((await client.submit(submission(10), { signal: host.signal })).job.id, {
      signal: host.signal,
    });
    const accepted = await client.submitBatch(
      Array.from({ length: options.jobs }, () => submission(jobMs)),
      { signal: host.signal },
    );
    const done = await Promise.all(accepted.map(({ job }) => client.wait(job.id, { signal: host.signal })));
    const failed = done.find(({ state }) => state !== 'succeeded');
    if (failed !== undefined)
      throw new Error(
        `${failed.id} ended as ${failed.state}: ${failed.error?.message ?? failed.reason ?? ''}`,
      );
    const startMs = Math.min(...done.map((job) => job.startedAtMs ?? Number.POSITIVE_INFINITY));
    const wallMs = Math.max(...done.map((job) => job.finishedAtMs ?? 0)) - startMs;
    return {
      kind: options.kind,
      jobs: options.jobs,
      wallMs,
      utilisation: (options.jobs * jobMs) / wallMs,
      upBytes: 0,
    };
  } finally {
    await machine.stop();
  }
}
