import { describe, expect, test } from 'vitest';
import type { Broker, ExitRequest } from './broker.ts';
import {
  type BrokerSetup,
  entryOf,
  openRig,
  type Rig,
  type RigMachine,
} from './broker-fixture.conformance.ts';
import { isTerminal } from './job.ts';
import { tokenAfter } from './token.ts';

/**
 * Every state of an entry × every step that names one. Each cell is the answer and the state that
 * follows; `null` is an id that is not here.
 */
const states = ['absent', 'buried', 'waiting', 'delayed', 'leased', 'flagged', 'rebuilt'] as const;
type State = (typeof states)[number];

interface Stand {
  rig: Rig;
  machine: RigMachine;
  /** Of the lease, or of the last one; `1` where there never was any. */
  token: string;
}

type Cell = [answer: string, after: 'waiting' | 'delayed' | 'leased' | null];
type Row = Record<State, Cell>;

const requeue = (state: ExitRequest['state']) => (stand: Stand) =>
  stand.rig.release({ jobId: 'a', token: stand.token }, { state, cancelRequested: !isTerminal(state) });
const kindOf = async (answer: Promise<unknown>) =>
  (((await answer) as { kind?: string } | undefined)?.kind ?? 'done') as string;

const gone = (answer: string): Cell => [answer, null];
const same = (answer: string, at: { absent: string }): Row => ({
  absent: gone(at.absent),
  buried: gone(at.absent),
  waiting: [answer, 'waiting'],
  delayed: [answer, 'delayed'],
  leased: [answer, 'leased'],
  flagged: [answer, 'leased'],
  rebuilt: [answer, 'waiting'],
});
const ends = (answers: { present: string; absent: string }): Row => {
  const present = gone(answers.present);
  const absent = gone(answers.absent);
  return {
    absent,
    buried: absent,
    waiting: present,
    delayed: present,
    leased: present,
    flagged: present,
    rebuilt: present,
  };
};
const requeues: Row = {
  ...same('unchanged', { absent: 'unchanged' }),
  leased: ['requeued', 'waiting'],
  flagged: gone('cancelled'),
};

const table: [operation: string, run: (stand: Stand) => Promise<unknown>, row: Row][] = [
  [
    'submit at its floor',
    ({ rig }) => rig.submit(entryOf('a')).then(([answer]) => answer),
    { ...same('exists', { absent: 'added' }), absent: ['added', 'waiting'], buried: gone('tombstoned') },
  ],
  [
    'submit above its token',
    async ({ rig, token }) =>
      (await rig.submit(entryOf('a', { fenceFloor: tokenAfter(tokenAfter(token)) })))[0],
    Object.fromEntries(states.map((state) => [state, ['added', 'waiting']])) as Row,
  ],
  [
    'claim',
    ({ machine }) => machine.claim(),
    { ...same('empty', { absent: 'empty' }), waiting: ['leased', 'leased'] },
  ],
  [
    'progress',
    ({ rig, token }) => rig.broker.progress([{ jobId: 'a', token, fraction: 0.5 }]),
    same('done', { absent: 'done' }),
  ],
  [
    'complete',
    ({ rig, token }) => rig.broker.complete({ jobId: 'a', token, fenceFloor: '0' }),
    ends({ present: 'removed', absent: 'unchanged' }),
  ],
  ['exit to waiting', requeue('waiting'), requeues],
  ['exit to scheduled', requeue('scheduled'), requeues],
  ['exit to leased', requeue('leased'), requeues],
  [
    'exit to held',
    requeue('held'),
    { ...ends({ present: 'removed', absent: 'unchanged' }), flagged: gone('cancelled') },
  ],
  ['exit to succeeded', requeue('succeeded'), ends({ present: 'removed', absent: 'unchanged' })],
  ['exit to failed', requeue('failed'), ends({ present: 'removed', absent: 'unchanged' })],
  ['exit to cancelled', requeue('cancelled'), ends({ present: 'removed', absent: 'unchanged' })],
  ['exit to dead', requeue('dead'), ends({ present: 'removed', absent: 'unchanged' })],
  [
    'cancel',
    ({ rig }) => rig.broker.cancel({ jobId: 'a', fenceFloor: '0' }),
    {
      ...ends({ present: 'removed', absent: 'unknown' }),
      leased: ['requested', 'leased'],
      flagged: ['requested', 'leased'],
    },
  ],
  ['promote', ({ rig }) => rig.broker.promote({ limit: 10 }), same('done', { absent: 'done' })],
  ['lapsed', ({ rig }) => rig.broker.lapsed({ limit: 10 }), same('ok', { absent: 'ok' })],
];

async function standIn(setup: BrokerSetup, state: State): Promise<Stand> {
  const rig = await openRig(setup);
  const machine = await rig.machine('m1');
  if (state === 'buried') await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
  if (state === 'absent' || state === 'buried') return { rig, machine, token: '1' };
  const notBeforeMs = state === 'delayed' ? (await rig.now()) + 60_000 : null;
  await rig.add('a', { notBeforeMs });
  if (state === 'rebuilt') {
    await rig.under.restart();
    await rig.reconcile();
  }
  if (state !== 'leased' && state !== 'flagged') return { rig, machine, token: '1' };
  const { token } = await machine.lease();
  if (state === 'flagged') await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
  return { rig, machine, token };
}

/** Steps that a closed Broker refuses, each with its answer; the others are served. */
const refusedClosed: [keyof Broker, (stand: Stand) => Promise<unknown>, unknown][] = [
  [
    'submit',
    async ({ rig }) => rig.broker.submit({ identity: await rig.identity(), entries: [entryOf('b')] }),
    { kind: 'closed' },
  ],
  ['claim', ({ machine }) => machine.claim(), { kind: 'closed' }],
  ['lapsed', ({ rig }) => rig.broker.lapsed({ limit: 10 }), { kind: 'closed' }],
  ['promote', ({ rig }) => rig.broker.promote({ limit: 10 }), { promoted: [], wakes: [], nextInMs: null }],
  ['passWake', ({ rig, machine }) => rig.broker.passWake({ ...machine.ref, groups: ['g1'] }), { wake: null }],
];

export function tableSuite(setup: BrokerSetup): void {
  describe.each(table)('%s', (_name, run, row) => {
    test.each(states.map((state) => [state, ...row[state]] as const))(
      'of one that is %s: %s, then %s',
      async (state, answer, after) => {
        const stand = await standIn(setup, state);
        expect(await kindOf(run(stand))).toBe(answer);
        expect(await stand.rig.stateOf('a')).toBe(after);
        const stats = await stand.rig.broker.stats();
        expect([stats.waiting, stats.delayed, stats.leased]).toEqual(
          ['waiting', 'delayed', 'leased'].map((each) => (each === after ? 1 : 0)),
        );
      },
    );
  });

  describe('closed', () => {
    test.each(refusedClosed)('%s moves nothing', async (_name, run, answer) => {
      for (const state of states) {
        const stand = await standIn(setup, state);
        await stand.rig.under.restart();
        const before = await stand.rig.stateOf('a');
        expect(await run(stand)).toEqual(answer);
        expect(await stand.rig.stateOf('a')).toBe(before);
      }
    });
  });
}
