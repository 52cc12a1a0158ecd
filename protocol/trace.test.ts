import { describe, expect, test } from 'vitest';
import { seededRng } from '#simulations/seeded-rng.ts';
import { Traceparent } from './job.ts';
import { newTraceparent, traceId } from './trace.ts';

describe('trace', () => {
  test('a new traceparent has the W3C form, is never all zeros, and repeats with its seed', () => {
    const rng = seededRng(1);
    const made = Array.from({ length: 2_000 }, () => newTraceparent(rng));
    for (const each of made) expect(Traceparent.safeParse(each).success).toBe(true);
    expect(new Set(made).size).toBe(made.length);
    expect(newTraceparent(seededRng(1))).toBe(made[0]);
  });

  test('every digit of an id takes every value', () => {
    const rng = seededRng(2);
    const ids = Array.from({ length: 500 }, () => traceId(newTraceparent(rng)));
    for (let at = 0; at < 31; at++) expect(new Set(ids.map((id) => id[at])).size).toBe(16);
  });
});
