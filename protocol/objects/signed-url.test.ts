import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRange } from './byte-range.ts';
import { type Grant, signedUntilMs, signUrl, verifySignedUrl } from './signed-url.ts';

const secret = 's'.repeat(43);
const nowMs = 1_767_225_600_000;
const get: Grant = {
  method: 'GET',
  key: 'results/j1/17/out.png',
  untilMs: nowMs + 1_000,
  downloadName: 'out.png',
};
const put: Grant = {
  method: 'PUT',
  key: 'results/j1/17/out.png',
  untilMs: nowMs + 1_000,
  bytes: 5,
  sha256: 'a'.repeat(64),
  limitBytes: 9,
  mime: 'image/png',
};
const sign = (grant: Grant, baseUrl = 'http://127.0.0.1:7700') => signUrl({ baseUrl, grant, secret });
const verify = (url: string, method: 'GET' | 'PUT', over: { secret?: string; nowMs?: number } = {}) =>
  verifySignedUrl({ url, method, secret, nowMs, ...over });

describe('signed URLs', () => {
  test('a grant comes back as it was signed, from the whole URL or its path, whatever the host', () => {
    for (const base of ['http://127.0.0.1:7700', 'https://hub.example.org/emp/']) {
      const url = new URL(sign(put, base));
      for (const text of [url.href, url.pathname + url.search])
        expect(verify(text, 'PUT')).toEqual({ kind: 'granted', grant: put });
    }
    expect(verify(sign(get), 'GET')).toEqual({ kind: 'granted', grant: get });
    const open = { ...put, bytes: null, sha256: null };
    expect(verify(sign(open), 'PUT')).toEqual({ kind: 'granted', grant: open });
  });

  test('a URL ends at its time, not before', () => {
    expect(verify(sign(get), 'GET', { nowMs: get.untilMs - 1 })).toMatchObject({ kind: 'granted' });
    expect(verify(sign(get), 'GET', { nowMs: get.untilMs })).toMatchObject({
      kind: 'refused',
      reason: 'expired',
    });
  });

  test('a forged URL that has expired too is called forged', () => {
    expect(verify(`${sign(get)}AA`, 'GET', { nowMs: get.untilMs })).toMatchObject({ reason: 'forged' });
  });

  test('another secret does not verify', () => {
    expect(verify(sign(get), 'GET', { secret: 't'.repeat(43) })).toMatchObject({ reason: 'forged' });
  });

  test.each(['until', 'bytes', 'sha256', 'limit', 'mime'])(
    'a changed %s is refused, and so is none',
    (name) => {
      const changed = new URL(sign(put));
      changed.searchParams.set(
        name,
        name === 'sha256' ? 'b'.repeat(64) : name === 'mime' ? 'text/html' : '1767225609999',
      );
      expect(verify(changed.href, 'PUT')).toMatchObject({ kind: 'refused', reason: 'forged' });
      changed.searchParams.delete(name);
      expect(verify(changed.href, 'PUT').kind).toBe('refused');
    },
  );

  test.each<[string, () => string, 'GET' | 'PUT']>([
    ['another method', () => sign(get).replace('method=GET', 'method=PUT'), 'GET'],
    ['a parameter twice', () => `${sign(get)}&until=9999999999999`, 'GET'],
    ['a parameter of nobody', () => `${sign(get)}&admin=1`, 'GET'],
    ['no signature', () => sign(get).replace(/&signature=.*/, ''), 'GET'],
    ['a path that leaves the store', () => sign(get).replace('results/j1', '../..%2f..'), 'GET'],
    ['a key with an escape', () => sign(get).replace('out.png?', 'out%2Epng?'), 'GET'],
    ['no URL at all', () => 'http://[', 'GET'],
    ['a URL of another route', () => '/v1/jobs?method=GET', 'GET'],
    ['a very long URL', () => `/objects/a?method=GET&until=1&name=${'x'.repeat(5_000)}`, 'GET'],
    ['numbers that are none', () => sign(put).replace('limit=9', 'limit=9e9'), 'PUT'],
  ])('%s is refused', (_, make, method) => {
    expect(verify(make(), method).kind).toBe('refused');
  });

  test('no change of a single character is granted anything else', () => {
    const url = sign(put);
    fc.assert(
      fc.property(
        fc.integer({ min: url.indexOf('/objects/'), max: url.length - 1 }),
        fc.constantFrom(...'abcXYZ019-_.~%&=/?+'),
        (at, character) => {
          const verified = verify(url.slice(0, at) + character + url.slice(at + 1), 'PUT');
          if (verified.kind === 'granted') expect(verified.grant).toEqual(put);
        },
      ),
      { numRuns: 2_000, seed: 1 },
    );
  });

  test('what is signed for more than 15 minutes, or where no hub is, is refused', () => {
    expect(signedUntilMs(nowMs, 900_000)).toBe(nowMs + 900_000);
    for (const wrong of [900_001, 0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => signedUntilMs(nowMs, wrong)).toThrow('expiresInMs');
    for (const baseUrl of ['', 'ftp://hub', 'javascript:alert(1)', 'http://'])
      expect(() => sign(get, baseUrl)).toThrow('baseUrl');
  });
});

describe('ranges', () => {
  test.each([
    [undefined, 10, { kind: 'whole' }],
    ['bytes=0-0', 10, { kind: 'part', start: 0, end: 0 }],
    ['bytes=2-', 10, { kind: 'part', start: 2, end: 9 }],
    ['bytes=-3', 10, { kind: 'part', start: 7, end: 9 }],
    ['bytes=-30', 10, { kind: 'part', start: 0, end: 9 }],
    ['bytes=5-99', 10, { kind: 'part', start: 5, end: 9 }],
    ['bytes=10-', 10, { kind: 'unsatisfiable' }],
    ['bytes=-0', 10, { kind: 'unsatisfiable' }],
    ['bytes=-5', 0, { kind: 'unsatisfiable' }],
    ['bytes=0-', 0, { kind: 'unsatisfiable' }],
    ['bytes=5-4', 10, { kind: 'whole' }],
    ['bytes=-', 10, { kind: 'whole' }],
    ['bytes=0-1,4-5', 10, { kind: 'whole' }],
    ['lines=0-1', 10, { kind: 'whole' }],
    ['bytes=1e3-', 10, { kind: 'whole' }],
  ] as const)('%j of %d bytes is %j', (header, bytes, expected) => {
    expect(parseRange(header, bytes)).toEqual(expected);
  });
});
