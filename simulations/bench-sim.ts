import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { findRedisServer, RedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { dayTtlMs } from './day/day-world.ts';
import { playDay } from './day/play-day.ts';
import { policies } from './policies/catalogue.ts';
import type { StoreFactory } from './stage.ts';
import { serverStores } from './stores-servers.ts';
import { planDay } from './workloads/plan-day.ts';
import { Scenario } from './workloads/scenario.ts';

interface Timed {
  what: string;
  machineHours: number;
  jobs: number;
  virtualS: number;
  wallS: number;
  events: number;
}

/** Seconds of the standard day in 120 s of ours; and of two hours of it in a twelfth of a quarter of an hour on Redis. */
const dayTarget = 720;
const redisTarget = 96;
/** What the first prototype of such a simulation reached on this kind of computer. */
const eventsTarget = 5_200;

/**
 * How fast days are replayed, one after the other on one thread: the standard day with ours as policy,
 * an hour of a thousand machines, and two hours of the day on a real Redis.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const day = await timed(host, 'day', { scenario: dayOf(24, host.scale) });
  const thousand = await timed(host, 'a thousand machines', { scenario: thousandOf(host.scale) });
  const onRedis = await redisRun(host);
  const rows = [day, thousand, ...(onRedis === null ? [] : [onRedis])];
  return {
    bench: 'sim',
    figures: {
      virtualSecondsPerSecond: figure(day.virtualS / day.wallS, 's/s', { atLeast: dayTarget }),
      eventsPerSecond: figure(day.events / day.wallS, 'events/s', { atLeast: eventsTarget }),
      thousandMachinesHourS: figure(thousand.wallS / (thousand.virtualS / 3_600), 's', { atMost: 300 }),
      ...(onRedis === null ? {} : { redisVirtualSecondsPerSecond: redisFigure(onRedis) }),
    },
    rows: rows.map(({ what, machineHours, jobs, virtualS, wallS, events }) => ({
      what,
      machineHours: Math.round(machineHours * 10) / 10,
      jobs,
      virtualS: Math.round(virtualS),
      wallS: Math.round(wallS * 10) / 10,
      events,
    })),
    env: benchEnv(),
  };
}

const redisFigure = ({ virtualS, wallS }: Timed) => figure(virtualS / wallS, 's/s', { atLeast: redisTarget });

/** A small run has fewer jobs and machines as well: it shows that the bench measures, not how fast. */
const density = (scale: number) => Math.min(1, 4 * scale);

/** The first hours of the standard day, with a share of its jobs. */
function dayOf(hours: number, scale: number): Scenario {
  const spanHours = Math.max(0.25, hours * scale);
  const wanted = [
    { atHour: 0, machines: 10 },
    { atHour: spanHours / 2, machines: 50 },
    { atHour: spanHours, machines: 10 },
  ];
  return Scenario.parse({
    name: 'bench-day',
    spanHours,
    ...(hours === 24 && scale === 1 ? {} : { fleet: { wanted } }),
    jobs: { count: Math.round(((50_000 * spanHours) / 24) * density(scale)) },
  });
}

function thousandOf(scale: number): Scenario {
  const machines = Math.max(10, Math.round(1_000 * scale * density(scale)));
  return Scenario.parse({
    name: 'bench-thousand',
    spanHours: 1,
    fleet: { wanted: [{ atHour: 0, machines }] },
    jobs: { count: Math.round(20 * machines * density(scale)) },
  });
}

async function redisRun(host: BenchHost): Promise<Timed | null> {
  if (findRedisServer() === null) {
    host.note(redisMissing);
    return null;
  }
  const redis = await RedisServer.start();
  try {
    const stores = serverStores({ leaseTtlMs: dayTtlMs, redis, losses: ['flush'] });
    return await timed(host, 'two hours on Redis', { scenario: dayOf(2, host.scale), stores });
  } finally {
    await redis.close();
  }
}

async function timed(
  host: BenchHost,
  what: string,
  { scenario, stores }: { scenario: Scenario; stores?: StoreFactory },
): Promise<Timed> {
  host.signal.throwIfAborted();
  host.note(`${what}: ${scenario.jobs.count} jobs`);
  const plan = planDay({ scenario, seed: 1, load: 1 });
  const [emp] = policies;
  if (emp === undefined) throw new RangeError('the catalogue has no policy');
  const startedMs = systemClock.monotonic();
  const { log, events } = await playDay(plan, { policy: emp, stores });
  const wallS = (systemClock.monotonic() - startedMs) / 1_000;
  const closedMs = log.closedMs ?? plan.spanMs;
  const machineMs = log.machines.reduce((sum, { startMs, endMs }) => sum + (endMs ?? closedMs) - startMs, 0);
  return {
    what,
    machineHours: machineMs / 3_600_000,
    jobs: plan.jobs.length,
    virtualS: closedMs / 1_000,
    wallS,
    events,
  };
}
