import { expect, test } from 'vitest';
import {
  decodeHubFrame,
  encodeHubFrame,
  type HubFrame,
  type HubFrameType,
  hubFrameLimit,
  linkedPageLimit,
  wakeHopsLimit,
} from './hub-link.ts';

const machine = { machineId: 'm1', incarnation: 3 };
const group = 'g0123456789abcdef';

const frames: { [T in HubFrameType]: HubFrame<T>[] } = {
  hello: [{ hubId: 'hub-a', run: 7, software: '0.1.0', roles: ['sweeper', 'recorder'] }],
  alive: [{}],
  linked: [{ machines: [machine] }],
  unlinked: [{ machines: [machine] }],
  roles: [{ held: [] }, { held: ['reconciler'] }],
  wake: [{ machine, groups: [group], hops: wakeHopsLimit }],
  work: [{ group }],
  tell: [
    { machine, notice: 'cancel', body: { jobId: 'j1', reason: 'by request' } },
    { machine, notice: 'drop', body: { jobId: 'j1' } },
    { machine, notice: 'drain', body: { deadlineMs: 10, reason: 'by an operator' } },
    { machine, notice: 'cordon', body: { cordoned: true } },
  ],
  flags: [{ machine, cordoned: true, draining: false }],
  poke: [
    { role: 'sweeper', atMs: 1_767_225_600_000.25 },
    { role: 'recorder', atMs: null },
  ],
  recorded: [{ highestSeq: 12 }],
  closing: [{}],
};

const all = Object.entries(frames).flatMap(([type, bodies]) =>
  (bodies as HubFrame<HubFrameType>[]).map((body) => [type as HubFrameType, body] as const),
);

test.each(all)('a frame %s arrives as it was sent', (type, body) => {
  expect(decodeHubFrame(encodeHubFrame(type, body))).toEqual({ kind: 'ok', frame: { type, body } });
});

test.each(all)('a frame %s with a field that nobody knows is refused', (type, body) => {
  const text = encodeHubFrame(type, { ...body, surprise: 1 } as never);
  expect(decodeHubFrame(text)).toMatchObject({
    kind: 'invalid',
    detail: expect.stringContaining('surprise'),
  });
});

test('a type of a later version is skipped, and so are the fields that it adds to ours', () => {
  const later = (type: string, body: object) => JSON.stringify({ v: 2, type, body });
  expect(decodeHubFrame(later('digest', { pages: [] }))).toEqual({ kind: 'unknown', type: 'digest' });
  expect(decodeHubFrame(later('recorded', { highestSeq: 3, byHub: 'a' }))).toEqual({
    kind: 'ok',
    frame: { type: 'recorded', body: { highestSeq: 3 } },
  });
  expect(decodeHubFrame(later('recorded', { highestSeq: 'three' })).kind).toBe('invalid');
});

test.each<[string, string]>([
  ['text that is not JSON', 'hello'],
  ['a list', '[]'],
  ['null', 'null'],
  ['a number', '7'],
  ['no version', '{"type":"alive","body":{}}'],
  ['no body', '{"v":1,"type":"alive"}'],
  ['a body that is a list', '{"v":1,"type":"alive","body":[]}'],
  ['a further field', '{"v":1,"type":"alive","body":{},"id":1}'],
  ['a name of the prototype', '{"v":1,"type":"alive","body":{"__proto__":1,"x":{}}}'],
  [
    'a machine id that is a path',
    encodeHubFrame('linked', { machines: [{ machineId: '../x', incarnation: 1 }] }),
  ],
  ['no machine', encodeHubFrame('linked', { machines: [] })],
  ['too many machines', encodeHubFrame('linked', { machines: Array(linkedPageLimit + 1).fill(machine) })],
  ['too many groups', encodeHubFrame('wake', { machine, groups: Array(33).fill(group), hops: 1 })],
  ['a group of another form', encodeHubFrame('work', { group: 'g1' })],
  ['no hops', encodeHubFrame('wake', { machine, groups: [], hops: 0 })],
  ['more hops than allowed', encodeHubFrame('wake', { machine, groups: [], hops: wakeHopsLimit + 1 })],
  ['a role that nobody has', encodeHubFrame('roles', { held: ['king' as 'sweeper'] })],
  ['a notice of no hub', encodeHubFrame('tell', { machine, notice: 'superseded', body: {} } as never)],
])('%s is refused', (_, text) => {
  expect(decodeHubFrame(text).kind).toBe('invalid');
});

test('toString and its like are no types', () => {
  for (const type of ['toString', '__proto__', 'constructor'])
    expect(decodeHubFrame(JSON.stringify({ v: 1, type, body: {} }))).toEqual({ kind: 'unknown', type });
});

test('a frame over the limit is refused before it is parsed', () => {
  expect(decodeHubFrame(`"${'x'.repeat(hubFrameLimit)}"`)).toMatchObject({
    kind: 'invalid',
    detail: expect.stringContaining('over the limit'),
  });
});
