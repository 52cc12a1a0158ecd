import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '#protocol/env.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { type Fleet, startMachine, untilReady } from '#runtime/dev.ts';
import { systemClock } from '#runtime/env.ts';
import { percentile } from '#runtime/percentile.ts';
import { benchEnv, figure, withFleet } from './bench/bench-fleet.ts';

/** Starts that count; one more before them fills the disk cache and the cache of compiled code. */
const startsFull = 5;
/** After it the garbage of the start is gone, as far as V8 collects it unasked. */
const settleMs = 3_000;

interface Start {
  readyMs: number;
  rssMb: number;
}

/** From the start of a machine's process to its ready line, and its memory a few beats later. */
export async function run(host: BenchHost): Promise<BenchReport> {
  const starts = Math.max(1, Math.round(startsFull * host.scale));
  return await withFleet(host, {}, async (fleet, dir) => {
    const measured: Start[] = [];
    for (let index = 0; index <= starts; index++) {
      const start = await measure(host, fleet, {
        id: `startup-${index}`,
        dir,
        settleMs: settleMs * host.scale,
      });
      host.note(
        `${index === 0 ? 'warm-up' : `start ${index} of ${starts}`}: ready after ${Math.round(start.readyMs)} ms, ${start.rssMb.toFixed(0)} MB`,
      );
      if (index > 0) measured.push(start);
    }
    const median = (of: (start: Start) => number) =>
      percentile(
        measured.map(of).sort((a, b) => a - b),
        0.5,
      );
    return {
      bench: 'startup',
      figures: {
        readyMs: figure(
          median((start) => start.readyMs),
          'ms',
          { atMost: 1_000 },
        ),
        rssMb: figure(
          median((start) => start.rssMb),
          'MB',
          { atMost: 120 },
        ),
      },
      rows: measured.map((start, index) => ({
        start: index + 1,
        readyMs: Math.round(start.readyMs),
        rssMb: Math.round(start.rssMb),
      })),
      env: benchEnv(),
    };
  });
}

async function measure(
  host: BenchHost,
  fleet: Fleet,
  options: { id: string; dir: string; settleMs: number },
): Promise<Start> {
  const { token } = await fleet.client.joinToken({ signal: host.signal });
  const machine = startMachine(fleet.url, {
    id: options.id,
    pool: 'fast-lane',
    services: ['simulation:1'],
    dataDir: join(options.dir, 'machines', options.id),
    joinToken: token,
  });
  try {
    await untilReady(machine, host.signal);
    const readyMs = machine.readyMs ?? Number.NaN;
    await sleep(systemClock, options.settleMs, host.signal);
    return { readyMs, rssMb: await rssMb(machine.pid) };
  } finally {
    await machine.stop();
  }
}

/** Resident memory of a process, MB (Linux). */
async function rssMb(pid: number): Promise<number> {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'));
  return (Number(match?.[1]) * 1_024) / 1_000_000;
}
