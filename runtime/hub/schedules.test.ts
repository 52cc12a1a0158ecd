import { describe, expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { EmpError } from '#protocol/errors.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cancelJob } from './cancel.ts';
import type { HubPorts } from './hub.ts';
import { hubRig } from './hub-rig.ts';
import { removeSchedule, saveSchedule, showSchedule } from './schedules.ts';

const minute = 60_000;
const job = { service: 'simulation', payload: { durationMs: 10 }, labels: { team: 'a' } };

async function setup(options: { wrap?: (ports: HubPorts) => HubPorts } = {}) {
  const env = simEnv({ seed: 'schedules' });
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    ...(options.wrap && { wrap: options.wrap }),
  });
  const { hub } = rig.core;
  // The rest of this minute, so that patterns of minutes begin with a whole one.
  await env.clock.advanceBy(minute - (env.clock.now() % minute));
  const save = (document: object = {}, name = 'often') =>
    saveSchedule(hub, { name, document: { cron: '*/10 * * * *', job, ...document }, actor: 'ann' });
  const minutes = async (count: number) => {
    for (let past = 0; past < count * minute; past += minute / 2) await env.clock.advanceBy(minute / 2);
  };
  const filter = { label: { key: 'schedule', value: 'often' } };
  /** Oldest first. */
  const jobs = async () =>
    (await rig.ports.records.listJobs({ filter, limit: 100, cursor: null })).items.reverse();
  const last = async () => (await showSchedule(hub, 'often')).last;
  return { env, rig, hub, save, minutes, jobs, last };
}

describe('schedules', () => {
  test('a job at each time, named by it, with its label, and none before', async () => {
    const { env, save, minutes, jobs, last } = await setup();
    const saved = await save();
    const dueMs = saved.nextAtMs ?? 0;
    expect(dueMs % (10 * minute)).toBe(0);
    while (env.clock.now() < dueMs - minute) await minutes(1);
    expect(await jobs()).toEqual([]);
    await minutes(22);
    const found = await jobs();
    expect(found).toHaveLength(3);
    const stamp = new Date(dueMs).toISOString().replace(/[-:]/g, '').slice(0, 13);
    expect(found[0]).toMatchObject({ id: `often.${stamp}Z`, labels: { team: 'a', schedule: 'often' } });
    expect(await last()).toMatchObject({ outcome: 'submitted', jobId: found[2]?.id });
  });

  test('a crash between the submission and its note submits nothing twice', async () => {
    let failing = true;
    const wrap = (ports: HubPorts): HubPorts => ({
      ...ports,
      records: new Proxy(ports.records, {
        get(target, key: keyof HubPorts['records']) {
          if (key === 'advanceSchedule' && failing)
            return async () => Promise.reject(new EmpError('RECORDS_UNAVAILABLE'));
          return Reflect.get(target, key);
        },
      }),
    });
    const { save, minutes, jobs, last } = await setup({ wrap });
    await save();
    await minutes(11);
    expect(await jobs()).toHaveLength(1);
    expect(await last()).toBeNull();
    failing = false;
    await minutes(1);
    expect(await jobs()).toHaveLength(1);
    expect(await last()).toMatchObject({ outcome: 'submitted' });
  });

  test('nothing is submitted while the job before runs, where that is asked for', async () => {
    const { hub, save, minutes, jobs, last } = await setup();
    await save({ overlap: 'skip' });
    await minutes(31);
    const [first, ...rest] = await jobs();
    expect(rest).toEqual([]);
    expect(await last()).toMatchObject({
      outcome: 'skipped',
      detail: expect.stringContaining(first?.id ?? ''),
    });
    await cancelJob(hub, first?.id ?? '', 'client');
    await minutes(10);
    expect(await jobs()).toHaveLength(2);
  });

  test('of the times that passed without a hub the last is made up for, unless it is too late', async () => {
    const { env, save, minutes, jobs, last, rig } = await setup();
    const saved = await save({ lateLimitMs: 5 * minute });
    // As if it had been saved hours ago and nobody had looked since.
    const {
      name,
      nextAtMs: _,
      last: __,
      lastJobId: ___,
      actor,
      createdAtMs,
      updatedAtMs: ____,
      ...definition
    } = saved;
    const missed = (nextAtMs: number) =>
      rig.ports.records.putSchedule({ name, definition, nextAtMs, actor, nowMs: createdAtMs });
    const tenth = 10 * minute;
    const minutesAfterTenth = (after: number) =>
      env.clock.advanceBy(tenth - (env.clock.now() % tenth) + after * minute);
    const latest = () => Math.floor(env.clock.now() / tenth) * tenth;
    await minutesAfterTenth(3);
    await missed(latest() - 5 * tenth);
    await minutes(1);
    expect(await jobs()).toHaveLength(1);
    expect(await last()).toMatchObject({ dueAtMs: latest(), outcome: 'submitted' });
    // The next time passes, too, and is found eight minutes later.
    await missed(latest() + 5 * tenth);
    await minutesAfterTenth(8);
    await missed(latest() - 3 * tenth);
    await minutes(1);
    expect(await jobs()).toHaveLength(1);
    expect(await last()).toMatchObject({
      dueAtMs: latest(),
      outcome: 'skipped',
      detail: expect.stringContaining('late'),
    });
  });

  test('a paused one submits nothing, and goes on with the time after it is let go', async () => {
    const { save, minutes, jobs } = await setup();
    expect(await save({ paused: true })).toMatchObject({ nextAtMs: null });
    await minutes(25);
    expect(await jobs()).toEqual([]);
    await save();
    await minutes(10);
    expect(await jobs()).toHaveLength(1);
  });

  test('a removed one submits nothing more; what it submitted goes on', async () => {
    const { hub, save, minutes, jobs } = await setup();
    await save();
    await minutes(10);
    await removeSchedule(hub, { name: 'often', actor: 'ann' });
    await minutes(20);
    expect(await jobs()).toMatchObject([{ state: 'waiting' }]);
    await expect(removeSchedule(hub, { name: 'often', actor: 'ann' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(showSchedule(hub, 'often')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a job that is refused when its time comes is noted, and the next time is tried', async () => {
    const { rig, hub, save, minutes, jobs, last } = await setup();
    await save();
    await rig.submit('before');
    Object.assign(hub.config, { waitingLimit: 1 });
    await minutes(9);
    await minutes(2);
    // The queue is full: it is tried again until it is too late.
    expect(await last()).toBeNull();
    Object.assign(hub.config, { waitingLimit: 10 });
    await minutes(1);
    expect(await last()).toMatchObject({ outcome: 'submitted' });
    expect(await jobs()).toHaveLength(1);
  });

  test.each([
    [{ cron: 'often' }, '/cron'],
    [{ timezone: 'Mars/Olympus' }, '/timezone'],
    [{ job: { ...job, id: 'mine' } }, '/job'],
    [{ job: { ...job, payload: { durationMs: 'long' } } }, '/job/payload/durationMs'],
    [{ job: { ...job, labels: { schedule: 'mine' } } }, '/job/labels'],
    [{ lateLimitMs: 1 }, '/lateLimitMs'],
    [{ overlap: 'replace' }, '/overlap'],
    [{ every: '10m' }, '/every'],
  ])('%j is refused by name, and nothing is kept', async (document, pointer) => {
    const { rig, save } = await setup();
    await expect(save(document)).rejects.toMatchObject({
      errors: expect.arrayContaining([
        expect.objectContaining({ pointer: expect.stringMatching(`^${pointer}`) }),
      ]),
    });
    expect(await rig.ports.records.listSchedules()).toEqual([]);
  });
});
