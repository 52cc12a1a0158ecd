import { describe, expect, test } from 'vitest';
import { LogRing, simEnv } from './sim-env.ts';

describe('simulated env', () => {
  test('equal seeds and equal calls give equal ids', async () => {
    const run = async () => {
      const env = simEnv({ seed: 5 });
      const hub = env.process('hub-1');
      const machine = env.process('m1');
      const ids = [hub.newId('job'), machine.newId('run'), hub.newId('job')];
      await env.clock.advanceBy(1_000);
      return [...ids, hub.newId('job')];
    };
    const ids = await run();
    expect(await run()).toEqual(ids);
    expect(new Set(ids).size).toBe(4);
    for (const id of ids) expect(id).toMatch(/^(job|run)_[0-9a-f]{28}$/);
  });

  test('ids of one source are ordered by time and within a millisecond', async () => {
    const env = simEnv({ seed: 5 });
    const ids: string[] = [];
    for (let i = 0; i < 50; i++) {
      ids.push(env.newId('job'));
      if (i % 7 === 0) await env.clock.advanceBy(1);
    }
    expect(ids).toEqual([...ids].sort());
  });

  test('ids keep their order when wall time steps back', () => {
    const env = simEnv({ seed: 5 });
    const first = env.newId('job');
    env.clock.jumpWall(-5_000);
    expect(env.newId('job') > first).toBe(true);
  });

  test('a process restarted under its name draws anew', () => {
    const env = simEnv({ seed: 5 });
    expect(env.process('m1').rng.next()).not.toBe(env.process('m1').rng.next());
  });

  test('the log ring keeps the newest lines in order, with the process that wrote them', () => {
    const ring = new LogRing(3);
    const env = simEnv({ seed: 5, ring });
    for (let i = 1; i <= 5; i++) env.process('m1').log.child({ i }).info('step.done', { extra: true });
    expect(ring.entries().map((entry) => entry.fields)).toEqual([
      { process: 'm1', i: 3, extra: true },
      { process: 'm1', i: 4, extra: true },
      { process: 'm1', i: 5, extra: true },
    ]);
    expect(ring.text(env.clock.now())).toContain('info  step.done {"process":"m1","i":5,"extra":true}');
  });
});
