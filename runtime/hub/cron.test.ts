import { describe, expect, test } from 'vitest';
import { cronTimes } from './cron.ts';

const at = (text: string) => Date.parse(text);
const nowMs = at('2026-11-22T12:00:00Z');
const times = (cron: string, timezone = 'UTC') => cronTimes({ cron, timezone, nowMs });
const read = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16));

describe('cron', () => {
  test('the time after, and the last that has come, this very minute included', () => {
    const quarters = times('*/15 * * * *');
    expect(read(quarters.next(nowMs))).toBe('2026-11-22T12:15');
    expect(read(quarters.latest(nowMs))).toBe('2026-11-22T12:00');
    expect(read(quarters.latest(nowMs - 1))).toBe('2026-11-22T11:45');
    expect(read(times('@daily').next(nowMs))).toBe('2026-11-23T00:00');
  });

  test('by the clock of its place, which goes forward and back', () => {
    const berlin = times('30 2 * * *', 'Europe/Berlin');
    expect(read(berlin.next(at('2026-03-28T12:00:00Z')))).toBe('2026-03-29T01:00');
    expect(read(berlin.next(at('2026-03-29T12:00:00Z')))).toBe('2026-03-30T00:30');
    expect(read(berlin.next(at('2026-10-24T12:00:00Z')))).toBe('2026-10-25T00:30');
    expect(read(berlin.next(at('2026-10-25T00:30:00Z')))).toBe('2026-10-26T01:30');
  });

  test.each([
    ['', '/cron'],
    ['61 * * * *', '/cron'],
    ['* * * * * *', '/cron'],
    ['every day', '/cron'],
    ['0 0 30 2 *', '/cron'],
  ])('the pattern %j is refused by name', (cron, pointer) => {
    expect(() => times(cron)).toThrow(
      expect.objectContaining({ code: 'VALIDATION_FAILED', errors: [expect.objectContaining({ pointer })] }),
    );
  });

  test('so is a place that nobody knows', () => {
    expect(() => times('* * * * *', 'Mars/Olympus')).toThrow(
      expect.objectContaining({ errors: [expect.objectContaining({ pointer: '/timezone' })] }),
    );
  });
});
