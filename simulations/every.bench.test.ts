import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { BenchHost } from '#runtime/cli/bench.ts';
import { BENCH_NAMES } from '#runtime/cli/bench-list.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { findRedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { run as busy } from './bench-busy.ts';
import { run as claim } from './bench-claim.ts';
import { run as fair } from './bench-fair.ts';
import { run as idle } from './bench-idle.ts';
import { run as memory } from './bench-memory.ts';
import { run as peers } from './bench-peers.ts';
import { run as rebuild } from './bench-rebuild.ts';
import { run as recovery } from './bench-recovery.ts';
import { run as sim } from './bench-sim.ts';
import { run as startup } from './bench-startup.ts';
import { run as submit } from './bench-submit.ts';
import { run as wake } from './bench-wake.ts';

/** Each bench in a small way: that it measures what docs/benchmarks.md says. Targets are for `emp bench`. */

const benches = { startup, recovery, busy, submit, claim, memory, rebuild, idle, sim, peers, wake, fair };
const onRedis: readonly string[] = ['claim', 'memory', 'rebuild', 'idle', 'sim', 'peers', 'wake', 'fair'];

test.for(BENCH_NAMES)(
  '%s measures every figure that its page names',
  { timeout: 120_000 },
  async (name, context) => {
    if (onRedis.includes(name) && findRedisServer() === null && process.env.CI !== 'true')
      context.skip(redisMissing);
    if (name === 'rebuild' && missingPostgres() !== null && process.env.CI !== 'true')
      context.skip(missingPostgres() ?? '');
    const notes: string[] = [];
    const host: BenchHost = {
      note: (text) => notes.push(text),
      signal: new AbortController().signal,
      scale: 0.05,
    };
    const report = await benches[name](host);
    expect(report.bench).toBe(name);
    expect(report.rows.length).toBeGreaterThan(0);
    expect(notes.length).toBeGreaterThan(0);
    for (const [figure, { value, target }] of Object.entries(report.figures)) {
      expect(Number.isFinite(value), figure).toBe(true);
      expect(target, figure).toMatch(/^(<=|>=) [\d.]+/);
    }
    const page = await readFile(new URL('../docs/benchmarks.md', import.meta.url), 'utf8');
    const section =
      page.slice(page.indexOf(`| \`${name}\` |`)).split(/\n\| `(?!.*`, `)[a-z]+` \| `|\n\n/)[0] ?? '';
    for (const figure of Object.keys(report.figures))
      expect(section, `${name}: ${figure}`).toContain(`\`${figure}\``);
    // These do not depend on the speed of the computer.
    for (const figure of ['lost', 'doubled']) expect(report.figures[figure]?.value ?? 0, figure).toBe(0);
  },
);
