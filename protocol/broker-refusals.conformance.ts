import { describe, expect, test } from 'vitest';
import type { Broker, BrokerEntry } from './broker.ts';
import { type BrokerSetup, entryOf, leasedRig } from './broker-fixture.conformance.ts';

const ref = { machineId: 'm1', incarnation: 1 };
const claimOf = { ...ref, requestId: 9, groups: [], warmLanes: [], classId: 'c1' };
const beatOf = { ...ref, running: [], highestRequestId: 0, openRequestId: null, groups: [], classId: 'c1' };
const endOf = { jobId: 'a', token: '1', fenceFloor: '1' };
const exitOf = {
  ...endOf,
  state: 'waiting',
  attempts: 0,
  runs: 0,
  notBeforeMs: null,
  cancelRequested: false,
} as const;

const names: readonly unknown[] = [
  '',
  ' ',
  'a b',
  'a/b',
  'a:b',
  '{a}',
  '*',
  '-a',
  '.',
  '../a',
  'ä',
  'x'.repeat(129),
  7,
  null,
];
const tokens: readonly unknown[] = [
  '',
  '-1',
  '1.5',
  '007',
  'x',
  '1e3',
  '9'.repeat(17),
  '9007199254740991',
  5,
  null,
];
const counts: readonly unknown[] = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', null];
const times: readonly unknown[] = [Number.NaN, Number.POSITIVE_INFINITY, -1e17, '1'];
const groups: readonly unknown[] = names.filter((each) => typeof each !== 'string' || each.length < 100);
const limits: readonly unknown[] = [0, -1, 1.5, 10_001, Number.NaN, '5'];

type Case = [
  pointer: string,
  values: readonly unknown[],
  call: (broker: Broker, value: never) => Promise<unknown>,
];

function entryCases(): Case[] {
  const field = (name: keyof BrokerEntry, values: readonly unknown[]): Case => [
    `/entries/1/${name}`,
    values,
    async (broker, value) => {
      const { identity } = await broker.identity();
      await broker.submit({ identity, entries: [entryOf('x1'), entryOf('x2', { [name]: value })] });
    },
  ];
  const lease = { token: '1', ...ref };
  return [
    field('jobId', names),
    field('group', groups),
    field('affinity', names),
    field('pool', names),
    field('customer', names),
    field('priority', [...counts, 101]),
    field('costMs', [...counts, 0, 8 * 86_400_000]),
    field('attempts', counts),
    field('runs', counts),
    field('fenceFloor', tokens),
    field('notBeforeMs', times),
    field('body', [{ text: 'x'.repeat(8_182) }, { text: '雪'.repeat(2_728) }]),
    ['/entries/1/lease/token', tokens, entryCases.lease((value) => ({ ...lease, token: value }))],
    ['/entries/1/lease/machineId', names, entryCases.lease((value) => ({ ...lease, machineId: value }))],
    [
      '/entries/1/lease/incarnation',
      [...counts, 0],
      entryCases.lease((value) => ({ ...lease, incarnation: value })),
    ],
  ];
}

entryCases.lease =
  (of: (value: never) => BrokerEntry['lease']): Case[2] =>
  async (broker, value) => {
    const { identity } = await broker.identity();
    await broker.submit({ identity, entries: [entryOf('x1'), entryOf('x2', { lease: of(value) })] });
  };

const cases: Case[] = [
  ...entryCases(),
  ['/identity', ['', 'x'.repeat(257)], (broker, value) => broker.submit({ identity: value, entries: [] })],
  [
    '/ticket/nonce',
    ['', 'x'.repeat(257)],
    (broker, nonce) => broker.submit({ identity: 'x', entries: [], ticket: { identity: 'x', nonce } }),
  ],
  ['/machineId', names, (broker, machineId) => broker.claim({ ...claimOf, machineId })],
  ['/incarnation', [...counts, 0], (broker, incarnation) => broker.claim({ ...claimOf, incarnation })],
  ['/requestId', [...counts, 0], (broker, requestId) => broker.claim({ ...claimOf, requestId })],
  [
    '/groups/0/group',
    groups,
    (broker, group) => broker.claim({ ...claimOf, groups: [{ group, penaltyMs: 0 }] }),
  ],
  [
    '/groups/0/penaltyMs',
    times,
    (broker, penaltyMs) => broker.claim({ ...claimOf, groups: [{ group: 'g1', penaltyMs }] }),
  ],
  [
    '/warmLanes/0/group',
    groups,
    (broker, group) => broker.claim({ ...claimOf, warmLanes: [{ group, affinity: '-', bonusMs: 0 }] }),
  ],
  [
    '/warmLanes/0/affinity',
    names,
    (broker, affinity) => broker.claim({ ...claimOf, warmLanes: [{ group: 'g1', affinity, bonusMs: 0 }] }),
  ],
  [
    '/warmLanes/0/bonusMs',
    times,
    (broker, bonusMs) => broker.claim({ ...claimOf, warmLanes: [{ group: 'g1', affinity: '-', bonusMs }] }),
  ],
  ['/classId', ['', 'x'.repeat(257)], (broker, classId) => broker.claim({ ...claimOf, classId })],
  ['/machineId', names, (broker, machineId) => broker.beat({ ...beatOf, machineId })],
  [
    '/running/0/jobId',
    names,
    (broker, jobId) => broker.beat({ ...beatOf, running: [{ jobId, token: '1' }] }),
  ],
  [
    '/running/0/token',
    tokens,
    (broker, token) => broker.beat({ ...beatOf, running: [{ jobId: 'a', token }] }),
  ],
  ['/highestRequestId', counts, (broker, highestRequestId) => broker.beat({ ...beatOf, highestRequestId })],
  [
    '/openRequestId',
    [-1, 0, 0.5, Number.NaN],
    (broker, openRequestId) => broker.beat({ ...beatOf, openRequestId }),
  ],
  [
    '/groups',
    [Array.from({ length: 33 }, () => ({ group: 'g1', penaltyMs: 0 })), 'g1'],
    (broker, value) => broker.beat({ ...beatOf, groups: value }),
  ],
  ['/1/machineId', names, (broker, machineId) => broker.beats([beatOf, { ...beatOf, machineId }])],
  [
    '/1/running/0/token',
    tokens,
    (broker, token) => broker.beats([beatOf, { ...beatOf, running: [{ jobId: 'a', token }] }]),
  ],
  [
    '/1/groups/0/group',
    groups,
    (broker, group) => broker.beats([beatOf, { ...beatOf, groups: [{ group, penaltyMs: 0 }] }]),
  ],
  ['', [Array.from({ length: 201 }, () => beatOf), 'beats', null], (broker, value) => broker.beats(value)],
  ['/0/jobId', names, (broker, jobId) => broker.progress([{ jobId, token: '1', fraction: 0 }])],
  ['/0/token', tokens, (broker, token) => broker.progress([{ jobId: 'a', token, fraction: 0 }])],
  [
    '/0/fraction',
    [-0.1, 1.1, Number.NaN],
    (broker, fraction) => broker.progress([{ jobId: 'a', token: '1', fraction }]),
  ],
  [
    '',
    [Array.from({ length: 1_001 }, () => ({ jobId: 'a', token: '1', fraction: 0 }))],
    (broker, value) => broker.progress(value),
  ],
  ['/jobId', names, (broker, jobId) => broker.complete({ ...endOf, jobId })],
  ['/token', tokens, (broker, token) => broker.complete({ ...endOf, token })],
  ['/fenceFloor', tokens, (broker, fenceFloor) => broker.complete({ ...endOf, fenceFloor })],
  ['/jobId', names, (broker, jobId) => broker.exit({ ...exitOf, jobId })],
  ['/token', tokens, (broker, token) => broker.exit({ ...exitOf, token })],
  ['/fenceFloor', tokens, (broker, fenceFloor) => broker.exit({ ...exitOf, fenceFloor })],
  ['/state', ['', 'done', null], (broker, state) => broker.exit({ ...exitOf, state })],
  [
    '/cancelRequested',
    ['1', null, undefined],
    (broker, cancelRequested) => broker.exit({ ...exitOf, cancelRequested }),
  ],
  ['/attempts', counts, (broker, attempts) => broker.exit({ ...exitOf, attempts })],
  ['/runs', counts, (broker, runs) => broker.exit({ ...exitOf, runs })],
  ['/notBeforeMs', times, (broker, notBeforeMs) => broker.exit({ ...exitOf, notBeforeMs })],
  ['/jobId', names, (broker, jobId) => broker.cancel({ jobId, fenceFloor: '0' })],
  ['/fenceFloor', tokens, (broker, fenceFloor) => broker.cancel({ jobId: 'a', fenceFloor })],
  ['/limit', limits, (broker, limit) => broker.lapsed({ limit })],
  ['/machineId', names, (broker, machineId) => broker.enrol({ ...ref, machineId })],
  ['/incarnation', [...counts, 0], (broker, incarnation) => broker.enrol({ ...ref, incarnation })],
  ['/machineId', names, (broker, machineId) => broker.shorten({ ...ref, machineId, restMs: 0 })],
  [
    '/restMs',
    [-1, ...times.filter((each) => each !== '1')],
    (broker, restMs) => broker.shorten({ ...ref, restMs }),
  ],
  ['/machineId', names, (broker, machineId) => broker.leave({ ...ref, machineId })],
  ['/machineId', names, (broker, machineId) => broker.passWake({ ...ref, machineId, groups: [] })],
  ['/groups/0', groups, (broker, group) => broker.passWake({ ...ref, groups: [group] })],
  [
    '/groups',
    [Array.from({ length: 33 }, () => 'g1')],
    (broker, value) => broker.passWake({ ...ref, groups: value }),
  ],
  ['/limit', limits, (broker, limit) => broker.promote({ limit })],
  ['/after', counts, (broker, after) => broker.events({ after, limit: 1 })],
  ['/limit', limits, (broker, limit) => broker.events({ after: 0, limit })],
  ['/upTo', counts, async (broker, upTo) => broker.trimEvents({ ...(await broker.identity()), upTo })],
  ['/nonce', ['', 'x'.repeat(257), 5], (broker, nonce) => broker.reconcileStart({ nonce })],
  ['/nonce', ['', 'x'.repeat(257), 5], (broker, nonce) => broker.reconcileFinish({ identity: 'x', nonce })],
  ['/after', names.filter((each) => each !== null), (broker, after) => broker.list({ after, limit: 1 })],
  ['/limit', [...limits, 1_001], (broker, limit) => broker.list({ after: null, limit })],
  ['/jobId', names, (broker, jobId) => broker.inspect(jobId)],
];

/** Malformed arguments: the field is named, and nothing at all is written. */
export function refusalSuite(setup: BrokerSetup): void {
  const titled = cases.map((each): [string, Case] => [`${methodOf(each[2])} ${each[0]}`.trim(), each]);

  describe('refusals', () => {
    test.each(titled)('%s', async (_title, [pointer, values, call]) => {
      const { rig } = await leasedRig(setup);
      const before = await rig.seen();
      for (const value of values) {
        const refusal = { code: 'VALIDATION_FAILED', errors: [{ pointer }] };
        await expect(call(rig.broker, value as never), JSON.stringify(value)).rejects.toMatchObject(refusal);
      }
      expect(await rig.seen()).toEqual(before);
    });

    test('T27: names that look like keys of other things are only names', async () => {
      const { rig } = await leasedRig(setup);
      for (const jobId of [
        'constructor',
        'toString',
        'hasOwnProperty',
        'a.b',
        'A',
        '0',
        `x${'y'.repeat(127)}`,
      ]) {
        await rig.add(jobId, { customer: jobId, affinity: jobId });
        expect(await rig.broker.inspect(jobId)).toMatchObject({ jobId, state: 'waiting' });
        expect(await rig.broker.cancel({ jobId, fenceFloor: '0' })).toEqual({ kind: 'removed' });
      }
    });

    test('a client that was closed refuses every call and says why', async () => {
      const { rig } = await leasedRig(setup);
      const other = await rig.under.connect();
      await other.close();
      for (const call of [other.identity(), other.claim(claimOf), other.stats(), other.inspect('a')])
        await expect(call).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE', retryable: true });
      await other.close();
    });
  });
}

/** The step that a case calls, for its title. */
function methodOf(call: Case[2]): string {
  return /broker\s*\.\s*(\w+)\(/.exec(String(call).replace(/broker\.identity\(\)/g, ''))?.[1] ?? 'submit';
}
