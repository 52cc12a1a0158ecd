import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pick } from '#simulations/seeded-rng.ts';
import type { Fault } from './fault.ts';

/** Wall clocks of machines that jump. Nothing that ships knows of it: a module is loaded before the machine. */

const moduleUrl = new URL('./shifted-clock.ts', import.meta.url);
const shiftFile = (dir: string, machine: string) => join(dir, `${machine}.shift`);
const tenMinutesMs = 600_000;

const clockJump: Fault = {
  name: 'clock-jump-machine',
  summary: 'the wall clock of a machine jumps by ten minutes, forward or back, and jumps home',
  holdMs: { min: 2_000, max: 6_000 },
  cluster: {
    machineEnv: (machine, dir) => ({
      NODE_OPTIONS: `--import=${moduleUrl.href}`,
      CLOCK_SHIFT_FILE: shiftFile(dir, machine),
    }),
  },
  async inject({ cluster, rng }) {
    const machine = pick(rng, cluster.machines);
    const byMs = rng.next() < 0.5 ? tenMinutesMs : -tenMinutesMs;
    const shift = (ms: number) => {
      writeFileSync(shiftFile(cluster.host.dir, machine.name), String(ms));
      machine.process?.kill('SIGUSR2');
    };
    shift(byMs);
    return {
      detail: `the clock of ${machine.name} jumped by ${byMs} ms`,
      async heal() {
        shift(0);
        return `the clock of ${machine.name} jumped home`;
      },
    };
  },
};

export const clockFaults: readonly Fault[] = [clockJump];
