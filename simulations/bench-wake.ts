import { Agent, request } from 'node:http';
import { sleep } from '#protocol/env.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { percentile } from '#runtime/percentile.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { findRedisServer, missingRedis, redisVersion } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { cpuMs } from './bench/cpu-time.ts';
import { watchRedis } from './bench/redis-commands.ts';
import { sharedClock } from './bench-wake-clock.ts';
import { machinesThatFit, openWakeRig, type WakeRig } from './bench-wake-fleet.ts';

const machinesFull = 50;
const jobsFull = 400;
/** Jobs whose claims are counted: apart from the others, since listening to Redis costs it time. */
const countedFull = 100;
const warmUpFull = 50;
/** From the call of a job's connector to the next submission, ms: its machine ends it and is idle again. */
const pauseMs = { min: 30, max: 60 };
/** A job whose connector is not called within this long was lost, ms. */
const lostAfterMs = 30_000;

/**
 * From the moment at which a submission is sent to the call of the connector on an idle machine: one job at
 * a time over HTTP, a real hub, machines as real processes. Before each job one accept is timed in a store
 * beside the hub's, which tells what of it the commit took.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const machines = machinesThatFit(Math.max(3, Math.round(machinesFull * host.scale)));
  if (machines < 1) throw new Error('there is no memory for a machine process');
  const embedded = await measured(host, { servers: false, machines });
  const missing = missingRedis() ?? missingPostgres();
  if (missing !== null) host.note(`p50Ms, p99Ms and claimsPerJob are left out: ${missing}`);
  const servers = missing === null ? await measured(host, { servers: true, machines }) : null;
  return {
    bench: 'wake',
    figures: {
      ...(servers === null
        ? {}
        : {
            p50Ms: figure(servers.row.p50Ms, 'ms', { atMost: 5 }),
            p99Ms: figure(servers.row.p99Ms, 'ms', { atMost: 25 }),
            claimsPerJob: figure(servers.claimsPerJob, 'claims', { atMost: 2 }),
          }),
      embeddedP50Ms: figure(embedded.row.p50Ms, 'ms', { atMost: 5 }),
      embeddedP99Ms: figure(embedded.row.p99Ms, 'ms', { atMost: 25 }),
    },
    rows: servers === null ? [embedded.row] : [embedded.row, servers.row],
    env: {
      ...benchEnv(),
      redis: servers === null ? null : (redisVersion(findRedisServer() ?? '')?.name ?? null),
    },
  };
}

interface Measured {
  row: BenchReport['rows'][number] & Record<'p50Ms' | 'p99Ms', number>;
  claimsPerJob: number;
}

async function measured(host: BenchHost, options: { servers: boolean; machines: number }): Promise<Measured> {
  const { servers, machines } = options;
  host.note(`${machines} machine processes on ${servers ? 'Redis and PostgreSQL' : 'the embedded stores'}`);
  const rig = await openWakeRig(host, options);
  const client = new Client(rig);
  try {
    const count = (full: number) => Math.max(5, Math.round(full * host.scale));
    await client.jobs(host, count(warmUpFull));
    host.note(`${count(jobsFull)} jobs, one at a time`);
    const before = await computed(rig);
    const jobs = await client.jobs(host, count(jobsFull));
    const spent = share(before, await computed(rig));
    const claimsPerJob = await claimsOf(rig, count(countedFull), (jobs) => client.jobs(host, jobs));
    const of = (pick: (job: Timed) => number) => jobs.map(pick).sort((a, b) => a - b);
    const wake = of(({ beganMs }) => beganMs);
    const commit = of(({ commitMs }) => commitMs);
    const besides = of(({ beganMs, commitMs }) => beganMs - commitMs);
    const answer = of(({ answeredMs }) => answeredMs);
    const ms = (sorted: number[], p: number) => Math.round(percentile(sorted, p) * 100) / 100;
    return {
      row: {
        stores: servers ? 'redis, postgresql' : 'embedded',
        machines,
        jobs: jobs.length,
        p50Ms: ms(wake, 0.5),
        p90Ms: ms(wake, 0.9),
        p99Ms: ms(wake, 0.99),
        maxMs: ms(wake, 1),
        commitP50Ms: ms(commit, 0.5),
        commitP99Ms: ms(commit, 0.99),
        besidesCommitP50Ms: ms(besides, 0.5),
        answerP50Ms: ms(answer, 0.5),
        answerP99Ms: ms(answer, 0.99),
        machinesCores: spent.machines,
        hubCores: spent.hub,
      },
      claimsPerJob,
    };
  } finally {
    client.close();
    await rig.close();
  }
}

interface Computed {
  atMs: number;
  machines: number;
  hub: number;
}

/** What all machine processes together and the hub have computed, ms. */
async function computed({ fleet }: WakeRig): Promise<Computed> {
  const each = await Promise.all(fleet.machines.map(({ pid }) => cpuMs(pid)));
  const machines = each.reduce((sum, ms) => sum + ms, 0);
  return { atMs: systemClock.monotonic(), machines, hub: await cpuMs(fleet.hub.pid) };
}

/** Cores that they kept busy in between. */
function share(from: Computed, to: Computed): { machines: number; hub: number } {
  const of = (pick: 'machines' | 'hub') =>
    Math.round(((to[pick] - from[pick]) / (to.atMs - from.atMs)) * 100) / 100;
  return { machines: of('machines'), hub: of('hub') };
}

/** Claims that reach Redis for each job, 0 without one. */
async function claimsOf(
  { redis }: WakeRig,
  jobs: number,
  submit: (jobs: number) => Promise<unknown>,
): Promise<number> {
  if (redis === null) return 0;
  const watched = await watchRedis(redis.path);
  try {
    watched.begin();
    await submit(jobs);
    watched.end();
    // One job at a time: a step that both ends and claims is the completion of the one with a claim for the next.
    const steps = ['emp1_claim', 'emp1_turns'].map((step) => watched.calls.get(step) ?? 0);
    return steps.reduce((sum, calls) => sum + calls, 0) / jobs;
  } finally {
    await watched.close();
  }
}

/** Of one job, from its submission: the answer of the hub and the call of the connector, ms. */
interface Timed {
  beganMs: number;
  answeredMs: number;
  commitMs: number;
}

/** Submits over one connection that stays open, on node:http: fetch would take more of the computer that is measured. */
class Client {
  readonly #rig: WakeRig;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #env = quietEnv();
  readonly #wallMs = sharedClock(systemClock);

  constructor(rig: WakeRig) {
    this.#rig = rig;
  }

  async jobs(host: BenchHost, count: number): Promise<Timed[]> {
    const timed: Timed[] = [];
    for (let at = 0; at < count; at++) {
      host.signal.throwIfAborted();
      const commitMs = await this.#rig.commits.commitMs();
      timed.push({ ...(await this.#job(host)), commitMs });
      await sleep(systemClock, this.#env.rng.int(pauseMs.min, pauseMs.max), host.signal);
    }
    return timed;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #job(host: BenchHost): Promise<Pick<Timed, 'beganMs' | 'answeredMs'>> {
    const id = this.#env.newId('job');
    const began = this.#rig.began(id);
    const text = JSON.stringify({ id, service: 'simulation', payload: { durationMs: 1 } });
    const sentMs = this.#wallMs();
    await this.#post(text);
    const answeredMs = this.#wallMs() - sentMs;
    const tooLate = new AbortController();
    const lost = sleep(systemClock, lostAfterMs, AbortSignal.any([tooLate.signal, host.signal])).then(() => {
      throw new Error(`no connector was called for ${id} within ${lostAfterMs} ms`);
    });
    lost.catch(() => undefined);
    const beganMs = (await Promise.race([began, lost])) - sentMs;
    tooLate.abort(new Error('the connector was called'));
    return { beganMs, answeredMs };
  }

  #post(text: string): Promise<void> {
    const { hostname, port } = new URL(this.#rig.fleet.url);
    return new Promise((resolve, reject) => {
      const call = request(
        {
          agent: this.#agent,
          host: hostname,
          port,
          method: 'POST',
          path: '/v1/jobs',
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
}
