import { missingBrowser } from './find-browser.ts';
import { missingRedis } from './redis-server.ts';

/** A group of tests that runs together, chosen by the ends of its files' names. */
export interface Tier {
  name: string;
  /** The files end in this; unit tests are those that no other tier takes. */
  suffix: string;
  /** One file after the other: its tests own processes, ports or a server. */
  serial: boolean;
  /** Its tests start database servers, which are looked for, or unpacked, before the first of them. */
  servers?: boolean;
  /** Limit of one test, ms, for one repetition of a fault test. */
  testTimeoutMs: number;
  /** Limit of the whole tier, ms: past it the tier is killed and has failed. */
  budgetMs: { local: number; ci: number };
  /** Why this machine cannot run the tier; null where it can. Then it is skipped, in CI it fails. */
  missing?: () => string | null;
}

const minute = 60_000;

export const tiers: Tier[] = [
  {
    name: 'unit',
    suffix: '.test.ts',
    serial: false,
    testTimeoutMs: 10_000,
    budgetMs: { local: 4 * minute, ci: 8 * minute },
  },
  {
    // Each file starts a redis-server of its own.
    name: 'redis',
    suffix: '.redis.test.ts',
    serial: true,
    servers: true,
    testTimeoutMs: 30_000,
    budgetMs: { local: 3 * minute, ci: 10 * minute },
    missing: missingRedis,
  },
  {
    // Each file starts a PostgreSQL of its own.
    name: 'postgres',
    suffix: '.postgres.test.ts',
    serial: true,
    servers: true,
    testTimeoutMs: minute,
    budgetMs: { local: 8 * minute, ci: 15 * minute },
    missing: () => inCiOnly('postgres'),
  },
  {
    name: 'process',
    suffix: '.process.test.ts',
    serial: true,
    testTimeoutMs: minute,
    budgetMs: { local: 4 * minute, ci: 20 * minute },
  },
  {
    // Each file starts a headless Chromium of its own.
    name: 'browser',
    suffix: '.browser.test.ts',
    serial: true,
    testTimeoutMs: minute,
    budgetMs: { local: 2 * minute, ci: 5 * minute },
    missing: missingBrowser,
  },
  {
    // Every bench in a small way.
    name: 'bench',
    suffix: '.bench.test.ts',
    serial: true,
    servers: true,
    testTimeoutMs: 2 * minute,
    budgetMs: { local: 6 * minute, ci: 8 * minute },
    missing: () => inCiOnly('bench'),
  },
  {
    // Installs the toolchain and all packages several times.
    name: 'install',
    suffix: '.install.test.ts',
    serial: true,
    testTimeoutMs: 5 * minute,
    budgetMs: { local: 5 * minute, ci: 8 * minute },
    missing: () => inCiOnly('install'),
  },
  {
    // Fault runs on real Redis and PostgreSQL servers, each with a load of its own.
    name: 'faults',
    suffix: '.faults.test.ts',
    serial: true,
    servers: true,
    testTimeoutMs: 5 * minute,
    budgetMs: { local: 10 * minute, ci: 12 * minute },
    missing: () => inCiOnly('faults'),
  },
  {
    // Whole installations in virtual time, on every core.
    name: 'chaos',
    suffix: '.chaos.test.ts',
    serial: true,
    testTimeoutMs: 14 * minute,
    budgetMs: { local: 15 * minute, ci: 15 * minute },
    missing: () => inCiOnly('chaos'),
  },
];

/** Tiers that take minutes of their own are not part of a run at a desk. */
function inCiOnly(tier: string): string {
  return `takes minutes; run with CI=true, or by npm run test:one -- --project ${tier}`;
}

/** Path patterns of a tier's files; `folders` are those of the repository that hold source. */
export function tierFiles(tier: Tier): { include: string[]; exclude: string[] } {
  const others = tiers.filter((other) => other !== tier && other.suffix.endsWith(tier.suffix));
  const pattern = (suffix: string) => `{${sourceFolders.join(',')}}/**/*${suffix}`;
  return {
    include: [pattern(tier.suffix)],
    exclude: ['**/node_modules/**', ...others.map((o) => pattern(o.suffix))],
  };
}

/** The six folders of the root, in the order in which they may import each other. */
export const sourceFolders = ['protocol', 'machines', 'actors', 'runtime', 'simulations', 'docker'];

/** How often a fault test repeats its faults: `EMP_REPEAT`, at least 1. */
export function repeats(env: NodeJS.ProcessEnv): number {
  const wanted = Number(env.EMP_REPEAT ?? 1);
  return Number.isInteger(wanted) && wanted >= 1 ? wanted : 1;
}
