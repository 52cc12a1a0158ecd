import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { sleep } from '#protocol/env.ts';
import { describeOnRedis } from '#protocol/redis/setup.conformance.ts';
import { startHub, untilReady } from './dev.ts';
import { systemClock } from './env.ts';
import { FleetProcess } from './fleet-process.ts';
import { quietClient } from './quiet-client.ts';
import { freePort } from './toolchain/free-port.ts';
import { type PostgresServer, startPostgres } from './toolchain/postgres-server.ts';
import type { RedisServer } from './toolchain/redis-server.ts';

/** Hubs and machines as real processes on one PostgreSQL and one Redis: what a restart of each hub leaves of their work. */

const leaseTtlMs = 3_000;
const singletonTtlMs = 1_500;
/** Four or five processes start one after the other, some of them twice; for a machine that is busy with other tests too, ms. */
const timeout = 180_000;
/** Jobs that the load keeps open. */
const openLimit = 20;
const roles = ['reconciler', 'recorder', 'sweeper'];

/** Asks real processes, which give no signal, until the answer is not null. */
async function until<T>(ask: () => Promise<T | null>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    await sleep(systemClock, 20);
  }
}

describeOnRedis('several hubs on Redis and PostgreSQL', onServer, { tcp: true });

function onServer(redis: () => RedisServer): void {
  let postgres: PostgresServer | null = null;
  const cleanUps: (() => Promise<unknown>)[] = [];
  let fleets = 0;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterEach(async () => {
    for (const clean of cleanUps.splice(0).reverse()) await clean();
  });
  afterAll(async () => {
    await postgres?.close();
  });

  /** `hubs` hubs named `hub-1` …, and machines that know all of them. */
  async function fleet(options: { hubs: number; machines: number }) {
    assert(postgres !== null);
    const server = postgres;
    const databaseUrl = await server.database();
    const database = new URL(databaseUrl).pathname.slice(1);
    const dir = await mkdtemp(join(tmpdir(), 'emp-hubs-'));
    cleanUps.push(() => rm(dir, { recursive: true, force: true }));
    const ports = await Promise.all(Array.from({ length: options.hubs }, () => freePort()));
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const prefix = `hubs-${++fleets}`;
    const hubs: FleetProcess[] = [];
    const over = new AbortController();

    async function start(index: number): Promise<void> {
      const { process } = await startHub({
        port: ports[index] ?? 0,
        dataDir: join(dir, 'objects'),
        settings: {
          DATABASE_URL: databaseUrl,
          REDIS_URL: `redis://127.0.0.1:${redis().port}`,
          EMP_REDIS_PREFIX: prefix,
          EMP_HUB_ID: `hub-${index + 1}`,
          EMP_LEASE_TTL_MS: String(leaseTtlMs),
          EMP_SINGLETON_TTL_MS: String(singletonTtlMs),
        },
        signal: over.signal,
      });
      cleanUps.push(() => process.stop());
      hubs[index] = process;
      await until(async () => ((await fetch(`${urls[index]}/readyz`)).ok ? true : null));
    }
    for (let index = 0; index < options.hubs; index++) await start(index);

    const machines: FleetProcess[] = [];
    for (let index = 0; index < options.machines; index++) {
      const { token } = await quietClient(urls[0] ?? '').joinToken();
      // Each begins with another hub.
      const order = urls.map((_, at) => urls[(at + index) % urls.length]);
      const machine = new FleetProcess({
        name: `machine m${index + 1}`,
        args: [
          'machine',
          '--json',
          '--watch-stdin',
          '--id',
          `m${index + 1}`,
          '--services',
          'simulation:2',
          '--data',
          join(dir, `m${index + 1}`),
        ],
        env: { EMP_HUB_URL: order.join(','), EMP_HUB: '', EMP_JOIN_TOKEN: token },
      });
      cleanUps.push(() => machine.stop());
      machines.push(machine);
    }
    for (const machine of machines) await untilReady(machine, over.signal);

    const query = (text: string) => server.query(text, database);
    return {
      urls,
      hubs,
      machines,
      start,
      query,
      /** Any hub takes it; one that is away is passed over. */
      async submit(id: string, durationMs: number): Promise<void> {
        const body = JSON.stringify({ id, service: 'simulation', payload: { durationMs, progressSteps: 2 } });
        for (let tries = Number(id.replace(/\D/g, '')); ; tries++) {
          try {
            const headers = { 'content-type': 'application/json' };
            const answer = await fetch(`${urls[tries % urls.length]}/v1/jobs`, {
              method: 'POST',
              headers,
              body,
            });
            if (answer.ok) return;
          } catch {
            // This hub is away: the next one, with the same id.
          }
          await sleep(systemClock, 20);
        }
      },
      async open(): Promise<number> {
        const ended = "('succeeded', 'failed', 'cancelled', 'dead')";
        const [row] = await query(`SELECT count(*)::int AS n FROM emp.jobs WHERE state NOT IN ${ended}`);
        return Number(row?.['n']);
      },
      /** How many jobs are in which state. */
      async states(): Promise<Record<string, number>> {
        const rows = await query('SELECT state, count(*)::int AS n FROM emp.jobs GROUP BY state');
        return Object.fromEntries(rows.map((row) => [String(row['state']), Number(row['n'])]));
      },
      async holders(): Promise<Record<string, string>> {
        const rows = await query('SELECT name, holder, token::int AS token FROM emp.singletons');
        return Object.fromEntries(
          rows.map((row) => [String(row['name']), `${row['holder']} ${row['token']}`]),
        );
      },
      /** Until each of these hubs has links to so many others. */
      async linked(indexes: number[], others: number): Promise<void> {
        for (const index of indexes) {
          await until(async () => {
            const { hubs: seen } = await quietClient(urls[index] ?? '').status();
            // PostgreSQL tells its time in fractions; what people are told are whole ms.
            expect(seen.filter(({ startedAtMs }) => !Number.isInteger(startedAtMs))).toEqual([]);
            return seen.filter((hub) => hub.linked).length === others ? true : null;
          });
        }
      },
    };
  }

  test('each hub is replaced in turn under load: nothing is lost, nothing runs twice, no lease ends', {
    timeout,
  }, async () => {
    const world = await fleet({ hubs: 2, machines: 2 });
    await world.linked([0, 1], 1);
    let submitted = 0;
    let loading = true;
    const load = async () => {
      while (loading) {
        // A machine that is busy with other tests must not drown in the load.
        await until(async () => ((await world.open()) < openLimit ? true : null));
        const number = ++submitted;
        // Every tenth outlives the restart of a hub.
        await world.submit(`job-${number}`, number % 10 === 0 ? 2_000 : 100);
      }
    };
    const loads = [load(), load()];
    for (const index of [0, 1]) {
      const before = submitted;
      await until(async () => (submitted > before + 20 ? true : null));
      expect(await world.hubs[index]?.stop()).toEqual({ code: 0, signal: null });
      await until(async () => (submitted > before + 40 ? true : null));
      await world.start(index);
    }
    await world.linked([0, 1], 1);
    loading = false;
    await Promise.all(loads);
    await until(async () => ((await world.states())['succeeded'] === submitted ? true : null));
    expect(
      await world.query(
        'SELECT outcome, counted, count(*)::int AS n FROM emp.runs GROUP BY outcome, counted',
      ),
    ).toEqual([{ outcome: 'succeeded', counted: false, n: submitted }]);
    const ends = await world.query(
      "SELECT count(*)::int AS n FROM emp.transitions WHERE to_state = 'succeeded'",
    );
    expect(ends).toEqual([{ n: submitted }]);
    expect(submitted).toBeGreaterThan(80);
    // Every machine has moved, and none has begun anew.
    expect(await world.query('SELECT DISTINCT incarnation::int AS n FROM emp.machines')).toEqual([{ n: 1 }]);
  });

  test('a holder of the roles that is killed, or stands still and comes back, is followed by another for good', {
    timeout,
  }, async () => {
    const world = await fleet({ hubs: 2, machines: 2 });
    await world.linked([0, 1], 1);
    const held = async () => {
      const holders = Object.entries(await world.holders());
      const owners = new Set(holders.map(([, holder]) => holder.split(' ')[0]));
      return holders.length === roles.length && owners.size === 1 ? [...owners][0] : null;
    };
    const first = await until(held);
    expect(first).toBe('hub-1');
    const runs = async (prefix: number) => {
      await Promise.all(Array.from({ length: 20 }, (_, index) => world.submit(`${prefix}${index + 10}`, 50)));
      await until(async () => ((await world.states())['succeeded'] === prefix * 20 ? true : null));
    };
    world.hubs[0]?.kill('SIGSTOP');
    const taken = await until(async () => {
      const holders = await world.holders();
      return roles.every((role) => holders[role]?.startsWith('hub-2 ')) ? holders : null;
    });
    // The machine whose hub stands still has not come over yet: the other one does the work.
    const client = quietClient(world.urls[1] ?? '');
    for (let index = 0; index < 20; index++) {
      const payload = { durationMs: 50, progressSteps: 1 };
      await client.submit({ id: `1${index + 10}`, service: 'simulation', payload });
    }
    await until(async () => ((await world.states())['succeeded'] === 20 ? true : null));
    world.hubs[0]?.kill('SIGCONT');
    await runs(2);
    expect(await world.holders()).toEqual(taken);
    const numbers = await world.query(
      'SELECT count(*)::int AS n, count(DISTINCT seq)::int AS seqs, max(seq)::int AS most FROM emp.events WHERE seq IS NOT NULL',
    );
    expect(numbers).toEqual([
      { n: numbers[0]?.['most'], seqs: numbers[0]?.['most'], most: numbers[0]?.['most'] },
    ]);

    world.hubs[1]?.kill('SIGKILL');
    await until(async () => {
      const holders = await world.holders();
      return roles.every((role) => holders[role]?.startsWith('hub-1 ')) ? true : null;
    });
    await runs(3);
    const outcomes = await world.query("SELECT count(*)::int AS n FROM emp.runs WHERE outcome = 'succeeded'");
    expect(outcomes).toEqual([{ n: 60 }]);
  });
}
