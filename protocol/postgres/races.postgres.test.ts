import { setImmediate as turn } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RecordedEvent, Records } from '#protocol/records.ts';
import { expire, hubOn, m1, newJob, ordinary, release, t0 } from '#protocol/records-fixture.conformance.ts';
import { compareTokens } from '#protocol/token.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { repeats } from '#runtime/toolchain/tiers.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { openPostgresRecords } from './records.ts';

/** Two hubs on one server, at the same rows at the same time. */

let server: PostgresServer;
let url: string;
const opened: Records[] = [];
const { clock, log } = quietEnv();

async function open(): Promise<Records> {
  const records = await openPostgresRecords({ url, poolLimit: 8, clock, rng: seededRng('r'), log });
  opened.push(records);
  return records;
}

beforeAll(async () => {
  server = await startPostgres();
});
beforeEach(async () => {
  for (const records of opened.splice(0)) await records.close();
  url = await server.database();
});
afterAll(async () => {
  for (const records of opened) await records.close();
  await server.close();
});

/** A deadlock would be hidden by the next try, but for the server's log. */
const deadlocks = () => server.log().split('deadlock detected').length - 1;

const rounds = 200 * repeats(process.env);

test(`${rounds} random races of complete, expire, release, cancel and requeue have one outcome each`, {
  timeout: 60_000 * repeats(process.env),
}, async () => {
  const hubs = [hubOn(await open()), hubOn(await open(), 'server-1')] as const;
  for (let round = 0; round < rounds; round++) {
    const rng = seededRng(`race ${round}`);
    const hub = () => hubs[rng.int(0, 1)]!;
    const id = await hubs[0].submit({ maxAttempts: rng.int(1, 3) });
    if (rng.next() < 0.7) await hubs[0].claim(id, '500');
    const acts = {
      complete: () => hub().complete(id, '500'),
      completeAgain: () => hub().complete(id, '500'),
      expire: () => hub().exit(id, '500', expire),
      release: () => hub().exit(id, '500', release),
      requestCancel: () => hub().records.requestCancel({ jobId: id, actor: 'client', nowMs: t0 + 60 }),
      finishCancel: () => hub().records.finishCancel({ jobId: id, actor: 'client', nowMs: t0 + 70 }),
      requeue: () => hub().requeue(id),
      mark: () => hub().records.markBrokered([id], t0 + 80),
    };
    const chosen = Object.entries(acts).filter(() => rng.next() < 0.7);
    const answers = await Promise.all(
      chosen
        .map(([name, act]) => ({ name, act, turns: rng.int(0, 6), place: rng.next() }))
        .toSorted((a, b) => a.place - b.place)
        .map(async ({ name, act, turns }) => {
          for (let n = 0; n < turns; n++) await turn();
          return { name, answer: (await act()) as { kind?: string; applied?: boolean } | undefined };
        }),
    );
    const wins = answers.filter(({ answer }) => answer?.kind === 'committed' || answer?.applied === true);
    expect(wins.length, `round ${round}: ${JSON.stringify(answers)}`).toBeLessThanOrEqual(1);
    await checkStory(hubs[1], id, round);
  }
  expect(deadlocks()).toBe(0);
});

/** What the rows tell fits together, whoever won. */
async function checkStory(hub: ReturnType<typeof hubOn>, id: string, round: number): Promise<void> {
  const job = await hub.job(id);
  const { transitions, runs } = await hub.records.timeline(id);
  const told = `round ${round}: ${JSON.stringify({ job, transitions, runs })}`;
  expect(transitions.at(-1)?.to, told).toBe(job.state);
  for (const [n, { from }] of transitions.entries()) expect(from, told).toBe(transitions[n - 1]?.to ?? null);
  expect(runs.length, told).toBe(job.runs);
  expect(runs.length, told).toBeLessThanOrEqual(1);
  expect(job.result !== null, told).toBe(job.state === 'succeeded');
  const exits = transitions.filter(({ operation }) => operation === 'expire' || operation === 'release');
  if (exits.length > 0) expect(compareTokens(job.fenceFloor, '501'), told).toBeGreaterThanOrEqual(0);
  const completions = transitions.filter(({ operation }) => operation === 'complete');
  expect(exits.length + completions.length, told).toBeLessThanOrEqual(1);
}

test('commits that name the same jobs in opposite orders wait for each other and never in a circle', async () => {
  const [a, b] = [await open(), await open()];
  for (let round = 0; round < 20; round++) {
    const jobs = Array.from({ length: 40 }, () => newJob({ state: round % 2 ? 'waiting' : 'held' }));
    const back = jobs.toReversed();
    const ids = jobs.map((job) => job.id);
    const answers = await Promise.all([a.submitJobs(jobs, t0), b.submitJobs(back, t0)]);
    expect(answers.flat().filter(({ kind }) => kind === 'created')).toHaveLength(40);
    const admission = { ...ordinary, limit: 40, actor: 'hub', nowMs: t0 };
    const [first, second] = await Promise.all([
      a.admitJobs(admission),
      b.admitJobs(admission),
      a.markBrokered(ids, t0 + 1),
      b.markBrokered(ids.toReversed(), t0 + 2),
      ...ids.map((jobId) => a.requestCancel({ jobId, actor: 'client', nowMs: t0 })),
      ...back.map(({ id }) => b.requestCancel({ jobId: id, actor: 'client', nowMs: t0 })),
    ]);
    const admitted = [...first.jobs, ...second.jobs].map(({ id }) => id);
    // Some were asked to be cancelled before.
    expect(new Set(admitted).size).toBe(admitted.length);
    if (round % 2) expect(admitted).toEqual([]);
  }
  expect(deadlocks()).toBe(0);
});

test('of two hubs that take a singleton at once one gets it, by the server’s clock', async () => {
  const hubs = [await open(), await open()] as const;
  for (let round = 0; round < 25; round++) {
    const name = `role-${round}`;
    const taken = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        hubs[n % 2]!.holdSingleton({ name, holder: `h${n}`, ttlMs: 60_000, current: null }),
      ),
    );
    const held = taken.filter((lease) => lease !== null);
    expect(held).toHaveLength(1);
    const [row] = await server.query('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now');
    expect(Math.abs(held[0]!.untilMs - 60_000 - Number(row?.now))).toBeLessThan(30_000);
  }
});

test('a reader of seq sees no gap, no change and each job’s facts in order, whoever writes', async () => {
  const [a, b] = [hubOn(await open()), hubOn(await open(), 'server-2')];
  const seen: RecordedEvent[] = [];
  let writing = true;
  const writer = async (hub: typeof a, lane: number) => {
    for (let n = 0; n < 25; n++) {
      const id = await hub.submit({ id: `w${lane}-${n}` });
      await hub.exit(id, '500', release);
      await (lane % 2 ? b : a).complete(id, '501', { holder: m1 });
    }
  };
  const recorder = async () => {
    const lease = await a.recorder();
    while (writing) await a.records.assignSeq({ limit: 7, lease });
    for (;;) {
      const answer = await a.records.assignSeq({ limit: 7, lease });
      if (answer.kind === 'ok' && answer.value.assigned === 0) return;
    }
  };
  const reader = async () => {
    do {
      const events = await b.records.listEvents({ after: seen.length, limit: 11 });
      for (const [n, event] of events.entries()) expect(event.seq).toBe(seen.length + n + 1);
      seen.push(...events);
      await turn();
    } while (writing || seen.length < (await b.records.highestSeq()));
  };
  const writers = Promise.all([a, b, a, b].map(writer)).finally(() => {
    writing = false;
  });
  await Promise.all([writers, recorder(), reader()]);
  // What was given its seq after the reader's last look.
  await reader();
  const types = Map.groupBy(seen, (event) => event.jobId);
  expect(types.size).toBe(100);
  for (const events of types.values())
    expect(events.map((event) => event.type)).toEqual(['job.submitted', 'job.released', 'job.succeeded']);
  expect(await b.records.listEvents({ after: 0, limit: 1_000 })).toEqual(seen);
});

test('a fact whose commit comes late gets its seq late, however early its id was drawn', async () => {
  const hub = hubOn(await open());
  const late = new pg.Client({ connectionString: url });
  await late.connect();
  await late.query('BEGIN');
  const insert =
    'INSERT INTO emp.events (type, data, at_ms) VALUES (\'hub.stopped\', \'{"hubId":"late"}\', 1)';
  await late.query(insert);
  const id = await hub.submit();
  const lease = await hub.recorder();
  expect(await hub.records.assignSeq({ limit: 10, lease })).toMatchObject({ value: { assigned: 1 } });
  await late.query('COMMIT');
  await late.end();
  expect(await hub.records.assignSeq({ limit: 10, lease })).toMatchObject({ value: { highestSeq: 2 } });
  const events = await hub.records.listEvents({ after: 0, limit: 10 });
  expect(events.map(({ seq, type, jobId }) => [seq, type, jobId])).toEqual([
    [1, 'job.submitted', id],
    [2, 'hub.stopped', null],
  ]);
});
