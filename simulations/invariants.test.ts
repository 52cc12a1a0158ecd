import { describe, expect, test } from 'vitest';
import type { BrokerEntry, BrokerStats } from '#protocol/broker.ts';
import { entryOf, openRig } from '#protocol/broker-fixture.conformance.ts';
import type { Job } from '#protocol/job.ts';
import { auditData } from '#protocol/memory/audit.conformance.ts';
import { memorySetup } from '#protocol/memory/setup.conformance.ts';
import { tokenAfter } from '#protocol/token.ts';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import { readText } from '#runtime/toolchain/source-tree.ts';
import { bonusBounded } from './check-bonus.ts';
import { drained } from './check-drained.ts';
import { fairWait } from './check-fair-wait.ts';
import { idleServed } from './check-idle.ts';
import { indexesTrue } from './check-indexes.ts';
import { requirementsHold } from './check-requirements.ts';
import { slotsHold } from './check-slots.ts';
import { allCheckers, invariants, numbersOf } from './invariants.ts';
import type { AuditView, Checker, Observation } from './observation.ts';
import { stageClass } from './stage-machine.ts';

/** A breach of each invariant, planted, and what is no breach beside it. Those of the others are in checkers.test.ts. */

const m1 = { machineId: 'm1', incarnation: 1 };
const group = 'g1';

const broker = (method: string, args: unknown[], answer: unknown) =>
  ({ kind: 'broker', process: 'hub-1', method, args, answer }) as unknown as Observation;

const submit = (...entries: BrokerEntry[]) =>
  broker('submit', [{ identity: 's', entries }], {
    kind: 'ok',
    answers: entries.map(() => ({ kind: 'added', wake: null })),
  });

const claim = (jobId: string, over: object = {}) =>
  broker(
    'claim',
    [{ ...m1, requestId: 1, groups: [{ group, penaltyMs: 0 }], warmLanes: [], classId: 'c', ...over }],
    { kind: 'leased', lease: { jobId, token: '1' } },
  );

const offering = { ...m1, running: [], groups: [{ group, penaltyMs: 0 }] };
const kept = { kind: 'ok', drop: [] };
const beat = () => broker('beat', [offering], kept);

const records = (method: string, args: unknown[], answer: unknown) =>
  ({ kind: 'records', process: 'hub-1', method, args, answer }) as unknown as Observation;

const noView: AuditView = {
  jobs: [],
  broker: new Map(),
  stats: { waiting: 0, delayed: 0, leased: 0, groups: [], tombstones: 0 } as unknown as BrokerStats,
  brokerOpen: true,
  atRest: true,
  indexProblems: [],
  timelines: new Map(),
  events: 0,
};

/** The message of the breach that the history ends with; null where there is none. */
function judge(checker: Checker, history: Observation[], audit?: AuditView): string | null {
  try {
    for (const seen of history) checker.observe?.(seen);
    if (audit) checker.audit?.(audit);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('the twelve', () => {
  const checkers = allCheckers({ nowMs: () => 0, leaseTtlMs: 30_000, beatMs: 5_000 });

  test('each number has a checker, and the names begin with it', () => {
    expect(new Set(checkers.flatMap(numbersOf))).toEqual(new Set(Object.keys(invariants)));
  });

  test('docs/simulation.md lists each with what it says', () => {
    const page = readText(repositoryRoot, 'docs/simulation.md') ?? '';
    const rows = [...page.matchAll(/^\| (I\d+) \| ([^|]+) \|/gm)].map(([, number = '', says = '']) => [
      number,
      says.trim(),
    ]);
    expect(Object.fromEntries(rows)).toEqual(invariants);
  });
});

describe('indexes', () => {
  test('I2: an entry that its index does not have is a breach', async () => {
    const under = await memorySetup();
    await under.broker.reconcileFinish(await under.broker.reconcileStart({ nonce: 'n' }));
    const { identity } = await under.broker.identity();
    await under.broker.submit({ identity, entries: [entryOf('a'), entryOf('b')] });
    const { data } = under.server.mark();
    expect(judge(indexesTrue(), [], { ...noView, indexProblems: auditData(data) })).toBeNull();
    data.entries.delete('a');
    const breach = judge(indexesTrue(), [], { ...noView, indexProblems: auditData(data) });
    expect(breach).toMatch(/^I2, I7: every index is true: .* and \d+ more$/);
  });
  test('I7: a head that is not the first of its lane is a breach', async () => {
    const under = await memorySetup();
    await under.broker.reconcileFinish(await under.broker.reconcileStart({ nonce: 'n' }));
    const { identity } = await under.broker.identity();
    await under.broker.submit({ identity, entries: [entryOf('a'), entryOf('b')] });
    const { data } = under.server.mark();
    const last = data.entries.get('b');
    if (last) last.score = -1;
    const heads = auditData(data).filter((problem) => problem.includes('for its head'));
    expect(judge(indexesTrue(), [], { ...noView, indexProblems: heads })).toContain(
      'g1/- has a for its head',
    );
  });
  test('I2: a lease below its floor is a breach, unless a cancel has brought the floor before the exit came', async () => {
    const under = await memorySetup();
    const rig = await openRig(async () => under);
    const machine = await rig.machine('m1');
    await rig.add('a');
    const { token } = await machine.lease();
    await rig.broker.cancel({ jobId: 'a', fenceFloor: tokenAfter(token) });
    const { data } = under.server.mark();
    expect(auditData(data)).toEqual([]);
    const entry = data.entries.get('a');
    if (entry) entry.cancelRequested = false;
    expect(auditData(data)).toEqual(['a is leased below its floor']);
  });
});

describe('hard requirements', () => {
  const enrol = (over: object = {}) =>
    records('enrolMachine', [{ machineId: 'm1', machineClass: { ...stageClass, ...over } }], m1);
  const row = (requirements: object, service = 'simulation') =>
    records('submitJobs', [[{ id: 'j1', service, customer: 'amber', requirements }], 0], []);
  const digest = `sha256:${'a1'.repeat(32)}`;
  test('a machine that has all passes, and so does a job that nobody described', () => {
    const wants = {
      vramMb: 24_000,
      tags: ['eu'],
      withoutTags: ['spot'],
      region: 'eu-1',
      machineId: 'm1',
      gpu: ['rtx4090', 'l40s'],
      connectorVersion: '>=0.9.0 <2.0.0',
      environment: digest,
      isolation: 'strict',
    };
    const has = {
      vramMb: 24_000,
      tags: ['eu', 'fast'],
      region: 'eu-1',
      gpus: ['l40s'],
      environment: digest,
      customers: { strict: 'amber' },
      reservedFor: ['fast', 'eu'],
    };
    expect(judge(requirementsHold(), [row(wants), enrol(has), claim('j1')])).toBeNull();
    expect(judge(requirementsHold(), [enrol(), claim('j2')])).toBeNull();
  });
  test.each([
    ['service ollama', {}, 'ollama', {}],
    ['vramMb 24000', { vramMb: 24_000 }, 'simulation', { vramMb: 8_000 }],
    ['cpuCores 16', { cpuCores: 16 }, 'simulation', {}],
    ['tag eu', { tags: ['eu'] }, 'simulation', {}],
    ['no tag spot', { withoutTags: ['spot'] }, 'simulation', { tags: ['spot'] }],
    ['region eu-1', { region: 'eu-1' }, 'simulation', {}],
    ['machine m2', { machineId: 'm2' }, 'simulation', {}],
    ['cards rtx4090 alone', { gpu: ['rtx4090'] }, 'simulation', {}],
    ['cards l40s alone', { gpu: ['l40s'] }, 'simulation', { gpus: ['l40s', 'rtx4090'] }],
    ['version >=1.0.1', { connectorVersion: '>=1.0.1' }, 'simulation', {}],
    ['version >=0.1.0 <1.0.0', { connectorVersion: '>=0.1.0 <1.0.0' }, 'simulation', {}],
    ['environment sha256:b2', { environment: 'sha256:b2' }, 'simulation', { environment: 'sha256:a1' }],
    ['isolation for amber', { isolation: 'strict' }, 'simulation', {}],
    ['isolation for amber', { isolation: 'strict' }, 'simulation', { customers: { allow: ['amber'] } }],
    ["room for amber, it is birch's", {}, 'simulation', { customers: { strict: 'birch' } }],
    ['leave for amber', {}, 'simulation', { customers: { allow: ['birch'] } }],
    ['leave for amber', {}, 'simulation', { customers: { deny: ['amber'] } }],
    ['leave for jobs that do not name a or b', {}, 'simulation', { tags: ['a'], reservedFor: ['a', 'b'] }],
    [
      'leave for jobs that do not name a',
      { tags: ['b'], machineId: 'm1' },
      'simulation',
      { tags: ['a', 'b'], reservedFor: ['a'] },
    ],
  ])('I5: a grant to a machine without %s is a breach', (lacks, requirements, service, has) => {
    expect(judge(requirementsHold(), [row(requirements, service), enrol(has), claim('j1')])).toContain(
      `j1 went to m1/1, which has not ${lacks}`,
    );
  });
});

describe('slots', () => {
  const frame = (direction: 'up' | 'down', fields: object): Observation => ({
    kind: 'frame',
    machine: 'm1#1',
    direction,
    text: JSON.stringify({ v: 1, ...fields }),
  });
  const offer = (slots: number) => ({ requestId: 1, free: [{ service: 'image', slots }], resident: [] });
  const grant = { kind: 'leased', assignment: { jobId: 'j1', service: 'image' }, more: false };
  const asked = (slots: number) => frame('up', { id: 1, type: 'claim', body: offer(slots) });
  const answered = frame('down', { re: 1, body: grant });
  test('a job for an offered slot passes, alone and with a completion', () => {
    expect(judge(slotsHold(), [asked(1), answered])).toBeNull();
    const completion = frame('up', { id: 2, type: 'complete', body: { jobId: 'j0', next: offer(1) } });
    const both = frame('down', { re: 2, body: { kind: 'committed', next: grant } });
    expect(judge(slotsHold(), [completion, both])).toBeNull();
    expect(judge(slotsHold(), [asked(0), frame('down', { re: 1, body: { kind: 'empty' } })])).toBeNull();
  });
  test('I6: a job without an offer, for another service, and a second for one offer are breaches', () => {
    expect(judge(slotsHold(), [asked(0), answered])).toContain('had offered nothing');
    expect(judge(slotsHold(), [asked(1), answered, answered])).toContain('no slot in that request');
    const other = frame('down', {
      re: 1,
      body: { ...grant, assignment: { jobId: 'j1', service: 'upscale' } },
    });
    expect(judge(slotsHold(), [asked(1), other])).toContain('j1 of upscale and had offered image');
    const completion = frame('up', { id: 2, type: 'complete', body: { jobId: 'j0', next: null } });
    const both = frame('down', { re: 2, body: { kind: 'committed', next: grant } });
    expect(judge(slotsHold(), [completion, both])).toContain('no slot in that request');
  });
});

describe('idle machines', () => {
  /** A history with its times, ms. */
  const watch = (history: [number, Observation][]) => {
    let nowMs = 0;
    const checker = idleServed({ nowMs: () => nowMs, leaseTtlMs: 30_000, beatMs: 5_000 });
    const opened = broker('reconcileFinish', [{}], { kind: 'open' });
    const timed = [[-60_000, opened] as const, ...history].map(([atMs, seen]) => ({ atMs, seen }));
    return judge(
      {
        name: checker.name,
        observe: (seen) => {
          nowMs = timed.find((each) => each.seen === seen)?.atMs ?? nowMs;
          checker.observe?.(seen);
        },
      },
      timed.map((each) => each.seen),
    );
  };
  const healed: Observation = { kind: 'healed' };
  const beats = (...atMs: number[]) => atMs.map((each): [number, Observation] => [each, beat()]);
  test('a claim in time passes; before the heal, for another group and after a loss nothing is judged', () => {
    expect(
      watch([
        [0, healed],
        [0, submit(entryOf('a'))],
        ...beats(1_000, 6_000),
        [6_100, claim('a')],
        ...beats(9_000, 20_000),
      ]),
    ).toBeNull();
    expect(watch([[0, submit(entryOf('a'))], ...beats(1_000, 6_000, 11_000, 16_100, 21_200)])).toBeNull();
    expect(
      watch([
        [0, healed],
        [0, submit(entryOf('a', { group: 'g2' }))],
        ...beats(0, 5_000, 10_000, 15_100, 20_000),
      ]),
    ).toBeNull();
    expect(
      watch([
        [0, healed],
        [0, submit(entryOf('a'))],
        [1, { kind: 'brokerLost' }],
        ...beats(0, 5_000, 10_000, 15_100, 20_000),
      ]),
    ).toBeNull();
  });
  test('work that a machine runs since before a loss does not wait', () => {
    const other = { machineId: 'm2', incarnation: 1, running: [{ jobId: 'a', token: '1' }], groups: [] };
    const adopted: [number, Observation] = [500, broker('beat', [other], kept)];
    const dropped: [number, Observation] = [500, broker('beat', [other], { kind: 'ok', drop: ['a'] })];
    const history = (named: [number, Observation]): [number, Observation][] => [
      [0, healed],
      [0, submit(entryOf('a'))],
      named,
      ...beats(1_000, 6_000, 11_000, 16_001, 21_002),
    ];
    expect(watch(history(adopted))).toBeNull();
    expect(watch(history(dropped))).toContain('a has waited');
  });
  test('I8: work that waits beside an idle fit machine for more than three beats is a breach', () => {
    const told = watch([
      [0, healed],
      [0, submit(entryOf('a'))],
      ...beats(1_000, 6_000, 11_000, 16_001, 21_002),
    ]);
    expect(told).toContain('a has waited 15001 ms beside m1/1');
  });
  test('I8: in a batch of beats, too', () => {
    const batch = () => broker('beats', [[offering]], { answers: [kept], pulse: {} });
    const at = [1_000, 6_000, 11_000, 16_001, 21_002].map((each): [number, Observation] => [each, batch()]);
    expect(watch([[0, healed], [0, submit(entryOf('a'))], ...at])).toContain('beside m1/1');
  });
});

describe('turns of customers', () => {
  const flood = Array.from({ length: 50 }, (_, index) => entryOf(`a-${index}`));
  const one = entryOf('b', { customer: 'bob' });
  const claims = (count: number) => flood.slice(0, count).map((entry) => claim(entry.jobId));
  test('a job that comes up within customers and jobs in flight passes', () => {
    expect(
      judge(fairWait(), [submit(...flood), claim('a-49'), submit(one), ...claims(3), claim('b')]),
    ).toBeNull();
  });
  test('I9: the first job of a customer behind a flood is a breach', () => {
    expect(judge(fairWait(), [submit(...flood), submit(one), ...claims(3)])).toContain(
      'b, the first of its customer, has seen 3 claims go to others; 2 may',
    );
  });
  test('mixed priorities and resident models are not judged by it', () => {
    const urgent = entryOf('c', { priority: 90 });
    expect(judge(fairWait(), [submit(...flood), submit(one), submit(urgent), ...claims(9)])).toBeNull();
    const warm = flood
      .slice(0, 9)
      .map((entry) => claim(entry.jobId, { warmLanes: [{ group, affinity: 'm', bonusMs: 1 }] }));
    expect(judge(fairWait(), [submit(...flood), submit(one), ...warm])).toBeNull();
  });
});

describe('bonus of a warm lane', () => {
  const cold = entryOf('cold', { affinity: 'x', costMs: 4_000 });
  const warm = [0, 1, 2].map((index) => entryOf(`warm-${index}`, { affinity: 'm', costMs: 4_000 }));
  const withBonus = (jobId: string, bonusMs: number) =>
    claim(jobId, { warmLanes: [{ group, affinity: 'm', bonusMs }] });
  test('a warm job may pass work up to the bonus; other customers, priorities and a loss are not compared', () => {
    expect(judge(bonusBounded(), [submit(cold, ...warm), withBonus('warm-0', 4_000)])).toBeNull();
    const urgent = entryOf('urgent', { priority: 60 });
    expect(judge(bonusBounded(), [submit(cold, urgent), claim('urgent')])).toBeNull();
    expect(
      judge(bonusBounded(), [submit(cold), submit(entryOf('z', { customer: 'bob' })), claim('z')]),
    ).toBeNull();
    expect(
      judge(bonusBounded(), [submit(cold, ...warm), { kind: 'brokerLost' }, claim('warm-2')]),
    ).toBeNull();
  });
  test('I10: a warm job that passes more than the bonus, and a later one without any, are breaches', () => {
    expect(judge(bonusBounded(), [submit(cold, ...warm), withBonus('warm-1', 4_000)])).toContain(
      'warm-1 was claimed 8000 ms of work ahead of cold for a bonus of 4000 ms',
    );
    expect(judge(bonusBounded(), [submit(cold, ...warm), claim('warm-0')])).toContain('for a bonus of 0 ms');
  });
});

describe('after the end', () => {
  const ended = [{ id: 'j1', state: 'succeeded' } as Job];
  const stats = (over: object) => ({ ...noView.stats, ...over }) as BrokerStats;
  test('an empty Broker passes, and one whose jobs have not ended is not judged', () => {
    expect(judge(drained(), [], { ...noView, jobs: ended, stats: stats({ tombstones: 1 }) })).toBeNull();
    const going = [{ id: 'j1', state: 'waiting' } as Job];
    expect(judge(drained(), [], { ...noView, jobs: going, stats: stats({ waiting: 1 }) })).toBeNull();
  });
  test.each([
    ['waiting: 1', { stats: stats({ waiting: 1 }) }],
    ['leased: 2', { stats: stats({ leased: 2 }) }],
    ['groups with a count: 1', { stats: stats({ groups: [{ group, waiting: 0 }] }) }],
    ['events: 3', { events: 3 }],
    ['tombstones too many: 4', { stats: stats({ tombstones: 5 }) }],
  ])('I12: %s is a breach', (what, over) => {
    expect(judge(drained(), [], { ...noView, jobs: ended, ...over })).toContain(`keeps ${what}`);
  });
});
