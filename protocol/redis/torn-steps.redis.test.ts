import { cpSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import type { BrokerEntry } from '#protocol/broker.ts';
import { entryOf, Rig, type RigMachine } from '#protocol/broker-fixture.conformance.ts';
import type { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { indexProblems } from './index-audit.conformance.ts';
import { describeOnRedis, redisSetup } from './setup.conformance.ts';

/**
 * A server that is killed while it writes may leave the first half of a step at the end of its file. Redis
 * leaves that half out at its next start, but keeps it in the file, and what is written later follows it:
 * the start after next plays it (mended in Valkey: valkey-io/valkey#4342). Records know nothing of it.
 */

/** Two machines with a job each, and a, b and c that wait. */
async function fleet(rig: Rig): Promise<{ m1: RigMachine; m2: RigMachine; leased: string[] }> {
  await rig.reconcile();
  const m1 = await rig.machine('m1');
  const m2 = await rig.machine('m2');
  await rig.submit(...['x', 'y', 'a', 'b', 'c'].map((id) => entryOf(id, { affinity: `model-${id}` })));
  const leased = [(await m1.lease()).jobId, (await m2.lease()).jobId];
  return { m1, m2, leased };
}

/** As a hub does it, where these rows are open: what else is there has ended, but what runs. */
async function reconcileWith(rig: Rig, rows: readonly BrokerEntry[]): Promise<void> {
  const ticket = await rig.start();
  const { identity } = ticket;
  expect(await rig.broker.submit({ identity, ticket, entries: [...rows] })).toMatchObject({ kind: 'ok' });
  const isOpen = new Set(rows.map(({ jobId }) => jobId));
  for (const { jobId, token, state } of await rig.broker.list({ after: null, limit: 1_000 }))
    if (!isOpen.has(jobId) && state !== 'leased')
      await rig.broker.complete({ jobId, token, fenceFloor: token });
  expect(await rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
}

type Fleet = Awaited<ReturnType<typeof fleet>>;

const steps: Record<string, (rig: Rig, fleet: Fleet) => Promise<unknown>> = {
  'submit of one': (rig) => rig.add('new'),
  'submit of three': (rig) => rig.submit(entryOf('n1'), entryOf('n2'), entryOf('n3')),
  claim: (_rig, { m1 }) => m1.claim(),
  'claim that finds nothing': (_rig, { m1 }) => m1.claim({ groups: [{ group: 'g2', penaltyMs: 0 }] }),
  complete: (rig, { m1 }) => rig.broker.complete({ ...ending(m1), fenceFloor: ending(m1).token }),
  release: (rig, { m1 }) => rig.release(ending(m1)),
  'cancel of what waits': (rig) => rig.broker.cancel({ jobId: 'b', fenceFloor: '1' }),
  'cancel of what runs': (rig, { m1 }) =>
    rig.broker.cancel({ jobId: ending(m1).jobId, fenceFloor: ending(m1).token }),
  progress: (rig, { m1 }) => rig.broker.progress([{ ...ending(m1), fraction: 0.5 }]),
  enrol: (rig) => rig.broker.enrol({ machineId: 'm3', incarnation: 1 }),
};

function ending(machine: RigMachine): { jobId: string; token: string } {
  const [run] = machine.running;
  if (run === undefined) throw new Error('the machine runs nothing');
  return run;
}

/** Ends of the commands of a file of commands, from an offset on. */
function commandEnds(bytes: Buffer, from: number): number[] {
  const ends: number[] = [];
  let at = from;
  const number = () => {
    const end = bytes.indexOf('\r\n', at);
    const value = Number(bytes.toString('latin1', at + 1, end));
    at = end + 2;
    return value;
  };
  while (at < bytes.length) {
    for (let words = number(); words > 0; words--) {
      const length = number();
      at += length + 2;
    }
    ends.push(at);
  }
  return ends;
}

describeOnRedis(
  'half of a step that comes back at the start after next',
  (shared) => {
    const folder = () => dirname(shared().path);
    const live = () => join(folder(), 'appendonlydir');
    const kept = () => join(folder(), 'kept');
    const file = () => {
      const [name] = readdirSync(live()).filter((each) => each.endsWith('.incr.aof'));
      return join(live(), String(name));
    };
    const problems = async () => {
      const redis = new Redis({ path: shared().path });
      try {
        return await indexProblems(redis);
      } finally {
        redis.disconnect();
      }
    };

    async function startFrom(server: RedisServer, source: () => void): Promise<void> {
      await server.kill();
      source();
      await server.run();
    }

    test.each(Object.keys(steps))(
      '%s: each beginning of it does no harm',
      { timeout: 300_000 },
      async (name) => {
        const server = shared();
        const under = await redisSetup(server, 'function');
        const rig = new Rig(under);
        const before = await fleet(rig);
        const size = readFileSync(file()).length;
        await steps[name]?.(rig, before);
        // The answer was given after the write.
        const bytes = readFileSync(file());
        cpSync(live(), kept(), { recursive: true });
        const cuts = commandEnds(bytes, size).slice(1, -1);
        expect(cuts.length, 'commands of the step').toBeGreaterThan(1);
        for (const cut of cuts) {
          await startFrom(server, () => {
            rmSync(live(), { recursive: true });
            cpSync(kept(), live(), { recursive: true });
            truncateSync(file(), cut + 5);
          });
          await afterTear(rig, before);
          await startFrom(server, () => {});
          await reconcileWith(rig, open(before, ['c', 'later']));
          expect(await problems(), `cut at ${cut - size} of ${bytes.length - size}`).toEqual([]);
          await rig.passTtl(async () => {});
          const machine = await rig.machine('m9');
          expect((await rig.drain(machine)).sort()).toEqual(['c', 'later']);
          expect(await problems()).toEqual([]);
        }
        rmSync(kept(), { recursive: true });
        await under.close();
      },
    );

    const open = ({ leased }: Fleet, ids: string[]) =>
      ids.filter((id) => !leased.includes(id)).map((id) => entryOf(id, { affinity: `model-${id}` }));

    /** Records have all as it was before the step. All but c end, and one is submitted. */
    async function afterTear(rig: Rig, before: Fleet): Promise<void> {
      await reconcileWith(rig, open(before, ['a', 'b', 'c']));
      expect(await problems()).toEqual([]);
      for (const { jobId, token } of [...before.m1.running, ...before.m2.running])
        await rig.broker.complete({ jobId, token, fenceFloor: token });
      await rig.passTtl(async () => {});
      const machine = await rig.machine('m8');
      const [first] = [await machine.lease(), await machine.lease()];
      for (const { jobId, token } of machine.running)
        await rig.broker.complete({ jobId, token, fenceFloor: token });
      expect(first.jobId).toBe('a');
      await rig.add('later', { affinity: 'model-later' });
    }
  },
  { args: ['--appendonly', 'yes', '--appendfsync', 'everysec'] },
);
