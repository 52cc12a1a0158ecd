import { Agent, request } from 'node:http';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { percentile } from '#runtime/percentile.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { benchEnv, figure, withFleet } from './bench/bench-fleet.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { measurePostgresSubmits } from './bench/postgres-submits.ts';

/** Submissions under way at once: what a handful of busy web servers would send. */
const connections = 32;
const singleJobs = 15_000;
const batchJobs = 60_000;
const jobsPerBatch = 1_000;
const batchConnections = 4;
const postgresJobs = 15_000;

interface Load {
  count: number;
  seconds: number;
  latenciesMs: number[];
  /** What the process that takes the jobs has computed meanwhile, ms. */
  cpuMs: number;
}

/** Submissions per second that are answered only after their commit on disk, one by one and in batches. */
export async function run(host: BenchHost): Promise<BenchReport> {
  const embedded = await runEmbedded(host);
  const postgres = await runPostgres(host);
  return {
    ...embedded,
    figures: { ...embedded.figures, ...postgres.figures },
    rows: [...embedded.rows, ...postgres.rows],
  };
}

/** Nothing where there is no PostgreSQL to measure. */
async function runPostgres(host: BenchHost): Promise<Pick<BenchReport, 'figures' | 'rows'>> {
  const missing = missingPostgres();
  if (missing !== null) {
    host.note(`postgresPerSecond is left out: ${missing}`);
    return { figures: {}, rows: [] };
  }
  const count = Math.max(connections, Math.round(postgresJobs * host.scale));
  host.note(`${count} submissions into PostgreSQL from ${connections} callers`);
  const measured = await measurePostgresSubmits(host, { count, callers: connections });
  return {
    figures: {
      postgresPerSecond: figure(count / measured.seconds, '/s', { atLeast: 2_000 }),
      postgresLost: figure(measured.lost, 'jobs', { atMost: 0 }),
    },
    rows: [row('postgres', measured, count)],
  };
}

async function runEmbedded(host: BenchHost): Promise<BenchReport> {
  const env = quietEnv();
  const body = () => ({
    id: env.newId('job'),
    service: 'simulation',
    payload: { durationMs: 1_000, progressSteps: 4 },
    labels: { bench: 'submit' },
  });
  return await withFleet(host, { machines: [] }, async (fleet) => {
    const target = new URL(fleet.url);
    const { pid } = fleet.hub;
    const single = (count: number) =>
      load(host, { pid, target, path: '/v1/jobs', count, connections, body: () => JSON.stringify(body()) });
    await single(Math.round(2_000 * host.scale) + connections);
    host.note(`${singleJobs * host.scale} submissions over ${connections} connections`);
    const singles = await single(Math.round(singleJobs * host.scale));
    host.note(`${batchJobs * host.scale} jobs in batches of ${jobsPerBatch}`);
    const batches = await load(host, {
      pid,
      target,
      path: '/v1/jobs/batch',
      count: Math.max(1, Math.round((batchJobs * host.scale) / jobsPerBatch)),
      connections: batchConnections,
      body: () => JSON.stringify({ jobs: Array.from({ length: jobsPerBatch }, body) }),
    });
    const counts = await fleet.client.count({ label: 'bench:submit' }, { signal: host.signal });
    const stored = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const accepted =
      Math.round(2_000 * host.scale) + connections + singles.count + batches.count * jobsPerBatch;
    const latency = singles.latenciesMs.sort((a, b) => a - b);
    return {
      bench: 'submit',
      figures: {
        embeddedPerSecond: figure(singles.count / singles.seconds, '/s', { atLeast: 3_000 }),
        batchPerSecond: figure((batches.count * jobsPerBatch) / batches.seconds, '/s', { atLeast: 10_000 }),
        p99: figure(percentile(latency, 0.99), 'ms', { atMost: 50 }),
        lost: figure(accepted - stored, 'jobs', { atMost: 0 }),
      },
      rows: [row('single', singles, singles.count), row('batch', batches, batches.count * jobsPerBatch)],
      env: benchEnv(),
    };
  });
}

function row(kind: string, measured: Load, jobs: number): BenchReport['rows'][number] {
  const sorted = [...measured.latenciesMs].sort((a, b) => a - b);
  return {
    kind,
    jobs,
    hubCpuUsPerJob: Math.round((measured.cpuMs * 1_000) / jobs),
    seconds: Math.round(measured.seconds * 100) / 100,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    maxMs: sorted.at(-1) ?? 0,
  };
}

interface LoadOptions {
  pid: number;
  target: URL;
  path: string;
  count: number;
  connections: number;
  body: () => string;
}

/** Sends `count` requests, `connections` at a time on connections that stay open; every answer must be 201. */
async function load(host: BenchHost, options: LoadOptions): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections });
  const latenciesMs: number[] = [];
  let left = options.count;
  const cpuBeforeMs = await cpuMs(options.pid);
  const startMs = systemClock.monotonic();
  const lane = async () => {
    while (left > 0) {
      host.signal.throwIfAborted();
      left -= 1;
      const text = options.body();
      const sentMs = systemClock.monotonic();
      await post(agent, options, text);
      latenciesMs.push(systemClock.monotonic() - sentMs);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.connections }, lane));
  } finally {
    agent.destroy();
  }
  const seconds = (systemClock.monotonic() - startMs) / 1_000;
  return { count: options.count, seconds, latenciesMs, cpuMs: (await cpuMs(options.pid)) - cpuBeforeMs };
}

/** One POST on node:http: fetch would take more of the core that the hub is measured on. */
function post(agent: Agent, { target, path }: LoadOptions, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        agent,
        host: target.hostname,
        port: target.port,
        method: 'POST',
        path,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (response) => {
        response.resume();
        response.once('error', reject);
        response.once('end', () =>
          response.statusCode === 201
            ? resolve()
            : reject(new Error(`the hub answered ${response.statusCode}`)),
        );
      },
    );
    call.once('error', reject);
    call.end(text);
  });
}
