import { describe, expect, test } from 'vitest';
import { decodeFrame, LINK_REQUESTS } from '#protocol/link.ts';
import { Malformation } from './fault-script.ts';
import { mayRepeat, spoil } from './malformed.ts';

const beat = JSON.stringify({
  v: 1,
  id: 3,
  type: 'leave',
  body: { reason: 'drained' },
});

describe('spoilt frames', () => {
  test.each(Malformation.options)('"%s" is never taken for what it was', (how) => {
    const decoded = decodeFrame(spoil(beat, { how, replaces: true }));
    if (decoded.kind === 'invalid') return;
    const { frame } = decoded;
    const isKnown = 'type' in frame && frame.type === 'leave' && 'id' in frame;
    expect(isKnown && LINK_REQUESTS.leave.body.safeParse(frame.body).success).toBe(false);
  });

  test('one that comes besides the real frame does not bear its number', () => {
    const spoilt = JSON.parse(spoil(beat, { how: 'unknown field', replaces: false })) as { id: number };
    expect(spoilt.id).not.toBe(3);
    const replaced = JSON.parse(spoil(beat, { how: 'unknown field', replaces: true })) as { id: number };
    expect(replaced.id).toBe(3);
  });
});

describe('frames that arrive twice', () => {
  const frame = (rest: object) => JSON.stringify({ v: 1, ...rest });
  test.each([
    ['a claim', frame({ id: 1, type: 'claim', body: {} }), 'up', true],
    ['a notice of the hub', frame({ type: 'wake', body: {} }), 'down', true],
    ['a hello', frame({ id: 1, type: 'hello', body: {} }), 'up', false],
    ['a hello between hubs', frame({ type: 'hello', body: {} }), 'up', false],
    ['a farewell', frame({ id: 9, type: 'leave', body: {} }), 'up', false],
    ['an answer', frame({ re: 1, body: {} }), 'down', false],
  ] as const)('%s: %s %s is %s', (_what, text, direction, may) => {
    expect(mayRepeat(text, direction)).toBe(may);
  });
});
