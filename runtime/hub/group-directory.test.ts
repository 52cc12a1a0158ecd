import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { type Group, groupId } from '#protocol/requirements.ts';
import { openSqliteRecords } from '#protocol/sqlite/records.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { GroupDirectory } from './group-directory.ts';
import { hubRig } from './hub-rig.ts';

test('of more groups than a claim may name, one that just got work or got it back is named at once', async () => {
  const env = simEnv({ seed: 'groups' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 3_000 },
  });
  await env.clock.advanceBy(10);
  const { groups } = rig.core.hub;
  for (let index = 10; index < 60; index++)
    await groups.intern(`00${index}`, { service: 'simulation', pool: 'standard', requirements: {} });
  const machine = await rig.join({ machineId: 'm1' });
  await rig.submit('j0', { requirements: { ramMb: 3 } });
  await machine.complete(await machine.lease());
  await env.clock.advanceBy(1_100);
  await machine.beat();
  await rig.submit('j1', { requirements: { ramMb: 3 } });
  const lease = await machine.lease();
  await env.clock.advanceBy(1_100);
  await machine.beat({ running: [lease] });
  await machine.ask('exit', {
    jobId: 'j1',
    token: lease.token,
    cause: { kind: 'release', reason: 'preempted' },
  });
  expect((await machine.lease()).jobId).toBe('j1');
});

test('a signature is the same for all forms of one group, however many were asked for before', async () => {
  const env = simEnv({ seed: 'signatures' });
  const records = await openSqliteRecords({ path: ':memory:', ...env });
  const groups = new GroupDirectory({ records, env, livingMs: 90_000 });
  const asked = (ramMb: number, tags: string[]) => ({
    service: 'simulation',
    pool: 'standard',
    requirements: { tags, ramMb },
  });
  const sign = (group: Group) => groups.signature(group, group.requirements);
  for (let ramMb = 1; ramMb <= 1_200; ramMb++)
    expect(sign(asked(ramMb, [])).groupId).toBe(groupId(asked(ramMb, [])));
  const { groupId: id, group } = sign(asked(0, ['b', 'a', 'b']));
  expect(group.requirements).toEqual({ tags: ['a', 'b'] });
  expect(sign(asked(0, ['a', 'b'])).groupId).toBe(id);
  expect(sign({ ...asked(0, ['a', 'b']), pool: 'heavy' }).groupId).not.toBe(id);
  await records.close();
});
