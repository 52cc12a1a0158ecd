import type { BrokerEntry, BrokerSettings, ClaimRequest, LeaseGrant } from '#protocol/broker.ts';
import { openRedisBroker, type RedisBroker } from '#protocol/redis/redis-broker.ts';
import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { systemClock } from '#runtime/env.ts';
import { findRedisServer, RedisServer, redisVersion } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';

const settings: BrokerSettings = { leaseTtlMs: 600_000, priorityBoostMs: 600_000 };
/** What a job of the other pool must be more urgent by, ms: the hub's default. */
const spillPenaltyMs = 15_000;
const floodFull = 10_000;
const jobsOfB = 10;
const entriesPerSubmit = 500;
/** Jobs of A that have been claimed when B comes: a quiet start, one round of the machines, a long morning. */
const claimedBefore = [0, 10, 1_000];

const pools = {
  'fast-lane': { group: 'g0000000000000001', machines: 10 },
  heavy: { group: 'g0000000000000002', machines: 5 },
} as const;
type Pool = keyof typeof pools;

interface Scenario {
  /** Jobs of heavier customers wait in the other pool, whose machines claim as often as ours. */
  busy: boolean;
  flood: number;
  before: number;
  round: number;
}

/**
 * A floods a pool with jobs, B submits ten: at which claim of that pool's machines the first of B's is
 * handed out. On a private Redis, each scenario on keys of its own.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const flood = Math.max(200, Math.round(floodFull * host.scale));
  const server = await RedisServer.start();
  try {
    const rows: Row[] = [];
    for (const busy of [false, true]) {
      for (const [at, claimed] of claimedBefore.entries()) {
        host.signal.throwIfAborted();
        const before = Math.min(claimed, flood / 2);
        host.note(`${flood} jobs of A, ${before} claimed before B${busy ? ', beside a busy pool' : ''}`);
        rows.push(await play(server, { busy, flood, before, round: at }));
      }
    }
    const worst = (busy: boolean) =>
      Math.max(...rows.filter((row) => row.busy === busy).map((row) => row.firstClaimOfB));
    return {
      bench: 'fair',
      figures: {
        firstClaimOfB: figure(worst(false), 'claims', { atMost: 2 }),
        firstClaimOfBBusy: figure(worst(true), 'claims', { atMost: 2 }),
      },
      rows: rows.map((row) => ({ ...row })),
      env: { ...benchEnv(), redis: redisVersion(findRedisServer() ?? '')?.name ?? null },
    };
  } finally {
    await server.close();
  }
}

type Row = {
  busy: boolean;
  claimedBefore: number;
  firstClaimOfB: number;
  /** The claims that got each job of B. */
  claimsOfB: string;
  /** What the first would have waited for in a line in order of arrival. */
  inOrderOfArrival: number;
  /** Claims of the busy pool's machines, and how many of them got a job of their pool, of which many wait. */
  heavyClaims: number;
  heavyKept: number;
};

interface Served {
  by: Pool;
  customer: string;
  pool: Pool;
}

function busyPool(served: readonly Served[]): Pick<Row, 'heavyClaims' | 'heavyKept'> {
  const own = served.filter(({ by }) => by === 'heavy');
  return { heavyClaims: own.length, heavyKept: own.filter(({ pool }) => pool === 'heavy').length };
}

async function play(server: RedisServer, scenario: Scenario): Promise<Row> {
  const { busy, flood, before, round } = scenario;
  const broker = await openRedisBroker({
    url: { path: server.path },
    settings,
    clock: systemClock,
    prefix: `fair-${busy ? 'busy' : 'calm'}-${round}`,
  });
  try {
    const queue = await Queue.open(broker);
    if (busy) {
      // B and A are known there too, and have used it: what they owe in one pool says nothing in the other.
      for (const customer of ['C', 'B', 'A'])
        await queue.submit({ customer, pool: 'heavy', count: Math.ceil(flood / 10), costMs: 300_000 });
    }
    await queue.submit({ customer: 'A', pool: 'fast-lane', count: flood, costMs: 2_000 });
    const turn = async (): Promise<Served[]> =>
      busy ? [await queue.serve('heavy'), await queue.serve('fast-lane')] : [await queue.serve('fast-lane')];
    const served: Served[] = [];
    for (let count = 0; count < before; count++) served.push(...(await turn()));
    // Dearer jobs than A's: a tag counts from where the pool stands, not from what a job will cost.
    await queue.submit({ customer: 'B', pool: 'fast-lane', count: jobsOfB, costMs: 20_000 });
    const claims: number[] = [];
    for (let claim = 1; claims.length < jobsOfB; claim++) {
      const now = await turn();
      served.push(...now);
      for (const { customer, pool } of now) if (customer === 'B' && pool === 'fast-lane') claims.push(claim);
    }
    return {
      busy,
      claimedBefore: before,
      firstClaimOfB: claims[0] ?? Number.NaN,
      claimsOfB: claims.join(' '),
      inOrderOfArrival: flood - before + 1,
      ...busyPool(served),
    };
  } finally {
    await broker.close();
  }
}

/** Customers and machines of both pools at one Broker. */
class Queue {
  readonly #broker: RedisBroker;
  readonly #identity: string;
  readonly #customers = new Map<string, { customer: string; pool: Pool }>();
  #requests = 0;

  private constructor(broker: RedisBroker, identity: string) {
    this.#broker = broker;
    this.#identity = identity;
  }

  static async open(broker: RedisBroker): Promise<Queue> {
    const ticket = await broker.reconcileStart({ nonce: 'fair' });
    await broker.reconcileFinish(ticket);
    for (const [pool, { machines }] of Object.entries(pools))
      for (let at = 0; at < machines; at++)
        await broker.enrol({ machineId: `${pool}-${at}`, incarnation: 1 });
    return new Queue(broker, ticket.identity);
  }

  async submit(jobs: { customer: string; pool: Pool; count: number; costMs: number }): Promise<void> {
    for (let left = jobs.count; left > 0; left -= entriesPerSubmit) {
      const entries = Array.from({ length: Math.min(left, entriesPerSubmit) }, () => this.#entry(jobs));
      const answer = await this.#broker.submit({ identity: this.#identity, entries });
      if (answer.kind !== 'ok') throw new Error(`the submit answered ${answer.kind}`);
    }
  }

  /** The next machine of a pool claims, of its own pool if it can, and ends the job. */
  async serve(by: Pool): Promise<Served> {
    const { jobId, token, fenceFloor } = await this.#claim(by);
    await this.#broker.complete({ jobId, token, fenceFloor });
    const job = this.#customers.get(jobId);
    if (job === undefined) throw new Error(`${jobId} was never submitted`);
    return { by, ...job };
  }

  async #claim(pool: Pool): Promise<LeaseGrant> {
    const requestId = ++this.#requests;
    const other = pool === 'heavy' ? 'fast-lane' : 'heavy';
    const request: ClaimRequest = {
      machineId: `${pool}-${requestId % pools[pool].machines}`,
      incarnation: 1,
      requestId,
      groups: [
        { group: pools[pool].group, penaltyMs: 0 },
        { group: pools[other].group, penaltyMs: spillPenaltyMs },
      ],
      warmLanes: [],
      classId: pool,
    };
    const answer = await this.#broker.claim(request);
    if (answer.kind !== 'leased') throw new Error(`the claim answered ${answer.kind}`);
    return answer.lease;
  }

  #entry({ customer, pool, costMs }: { customer: string; pool: Pool; costMs: number }): BrokerEntry {
    const jobId = `job_${String(this.#customers.size).padStart(28, '0')}`;
    this.#customers.set(jobId, { customer, pool });
    return {
      jobId,
      group: pools[pool].group,
      affinity: '-',
      pool,
      customer,
      priority: 50,
      costMs,
      attempts: 0,
      runs: 0,
      fenceFloor: '0',
      notBeforeMs: null,
      body: null,
      lease: null,
    };
  }
}
