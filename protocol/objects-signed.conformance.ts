import { describe, expect, test } from 'vitest';
import type { SignPut } from './objects.ts';
import { bytesOf, content, pattern, sha256, type Tracked, text } from './objects-fixture.conformance.ts';

/** Uploads and downloads by signed URL, over HTTP. */

export function uploadSuite(tracked: Tracked): void {
  describe('signed uploads', () => {
    test('an upload is stored with its size, hash and type', async () => {
      const { objects, upload } = await tracked();
      const body = pattern(3_000_000);
      expect((await upload('results/j1/17/a.bin', body, { mime: 'application/octet-stream' })).ok).toBe(true);
      expect(await objects.head('results/j1/17/a.bin')).toMatchObject({
        key: 'results/j1/17/a.bin',
        bytes: 3_000_000,
        sha256: sha256(body),
        mime: 'application/octet-stream',
        storedAtMs: expect.any(Number),
      });
    });

    test('an empty upload is an object', async () => {
      const { objects, upload, get } = await tracked();
      expect((await upload('empty', new Uint8Array())).ok).toBe(true);
      expect(await objects.head('empty')).toMatchObject({ bytes: 0, sha256: sha256(new Uint8Array()) });
      expect(await (await get('empty')).text()).toBe('');
    });

    test('terms without size and hash take anything up to the limit', async () => {
      const { objects, upload } = await tracked();
      const open = { bytes: null, sha256: null, limitBytes: 10 };
      expect((await upload('ten', pattern(10), open)).ok).toBe(true);
      expect((await upload('eleven', pattern(11), open)).status).toBeGreaterThanOrEqual(400);
      expect([(await objects.head('ten'))?.bytes, await objects.head('eleven')]).toEqual([10, null]);
    });

    test.each<[string, Partial<SignPut>]>([
      ['fewer bytes than signed for', { bytes: 18 }],
      ['more bytes than signed for', { bytes: 16 }],
      ['another content than signed for', { sha256: sha256(bytesOf('the tide goes out')) }],
    ])('%s are refused and nothing is left', async (_, terms) => {
      const { objects, upload } = await tracked();
      expect((await upload('results/j1/17/a.txt', content, terms)).status).toBeGreaterThanOrEqual(400);
      expect(await objects.head('results/j1/17/a.txt')).toBeNull();
      expect(await objects.list({ prefix: '', after: null, limit: 10 })).toEqual([]);
    });

    test('another media type than signed for is refused', async () => {
      const { objects, upload } = await tracked();
      expect(
        (await upload('page', content, {}, { 'content-type': 'text/html' })).status,
      ).toBeGreaterThanOrEqual(400);
      expect(await objects.head('page')).toBeNull();
    });

    test('the same content again is fine, other content under the key is refused', async () => {
      const { objects, upload, get } = await tracked();
      expect((await upload('results/j1/17/a.txt', content)).ok).toBe(true);
      expect((await upload('results/j1/17/a.txt', content)).ok).toBe(true);
      const other = bytesOf('the tide goes out');
      expect([409, 412]).toContain((await upload('results/j1/17/a.txt', other)).status);
      expect(await (await get('results/j1/17/a.txt')).text()).toBe(text);
      expect(await objects.head('results/j1/17/a.txt')).toMatchObject({ sha256: sha256(content) });
    });

    test('of different contents uploaded to one key at once exactly one is stored, whole', async () => {
      const { objects, upload, get } = await tracked();
      const bodies = Array.from({ length: 6 }, (_, n) => new Uint8Array(400_000).fill(n + 1));
      const answers = await Promise.all(bodies.map((body) => upload('race', body)));
      expect(answers.filter((answer) => answer.ok)).toHaveLength(1);
      const stored = new Uint8Array(await (await get('race')).arrayBuffer());
      expect(bodies.some((body) => Buffer.compare(body, stored) === 0)).toBe(true);
      expect(await objects.head('race')).toMatchObject({ sha256: sha256(stored) });
    });

    test('a URL is good for its own key, method and terms only', async () => {
      const { objects, baseUrl, request } = await tracked();
      const put = await objects.signPut({
        key: 'mine',
        bytes: null,
        sha256: null,
        limitBytes: 100,
        mime: 'text/plain',
        expiresInMs: 60_000,
        baseUrl,
      });
      const send = (url: string, method = 'PUT') =>
        request(url, {
          method,
          body: method === 'PUT' ? content : undefined!,
          headers: { 'content-type': 'text/plain' },
        });
      const forged = [
        put.replace('mine', 'yours'),
        put.replace(/limit=100\b/, 'limit=999'),
        put.replace(/([?&][A-Za-z-]*[sS]ignature=)[^&]+/, '$1AAAA'),
      ].filter((url) => url !== put);
      for (const url of forged) expect((await send(url)).status).toBe(403);
      expect((await request(put, { method: 'GET' })).status).toBeGreaterThanOrEqual(400);
      expect(await objects.list({ prefix: '', after: null, limit: 10 })).toEqual([]);
      expect((await send(put)).ok).toBe(true);
    });

    test('an expired URL is refused', async () => {
      const { objects, baseUrl, request, elapse } = await tracked();
      if (!elapse) return;
      const url = await objects.signPut({
        key: 'late',
        bytes: null,
        sha256: null,
        limitBytes: 100,
        mime: 'text/plain',
        expiresInMs: 1_000,
        baseUrl,
      });
      await elapse(1_000);
      expect(
        (await request(url, { method: 'PUT', body: content, headers: { 'content-type': 'text/plain' } }))
          .status,
      ).toBe(403);
      expect(await objects.head('late')).toBeNull();
    });
  });
}

export function downloadSuite(tracked: Tracked): void {
  describe('signed downloads', () => {
    test('a download has the stored bytes, type and a name to save under', async () => {
      const { objects, baseUrl, request, put } = await tracked();
      await put('results/j1/17/a.txt', text);
      const url = await objects.signGet({
        key: 'results/j1/17/a.txt',
        expiresInMs: 60_000,
        baseUrl,
        downloadName: 'tide.txt',
      });
      const answer = await request(url, { method: 'GET' });
      expect([answer.status, await answer.text()]).toEqual([200, text]);
      expect(answer.headers.get('content-type')).toBe('text/plain');
      expect(answer.headers.get('content-length')).toBe(String(content.byteLength));
      expect(answer.headers.get('content-disposition')).toContain('tide.txt');
    });

    test.each([
      ['bytes=0-3', 'the ', '0-3'],
      ['bytes=4-', 'tide comes in', '4-16'],
      ['bytes=-2', 'in', '15-16'],
      ['bytes=13-999', 's in', '13-16'],
      ['bytes=16-16', 'n', '16-16'],
    ])('the range %s is answered alone', async (range, expected, place) => {
      const { put, get } = await tracked();
      await put('a.txt', text);
      const answer = await get('a.txt', { range });
      expect([answer.status, await answer.text()]).toEqual([206, expected]);
      expect(answer.headers.get('content-range')).toBe(`bytes ${place}/17`);
    });

    test('a range past the end is told so', async () => {
      const { put, get } = await tracked();
      await put('a.txt', text);
      expect((await get('a.txt', { range: 'bytes=17-' })).status).toBe(416);
    });

    test('ranges put together are the object', async () => {
      const { put, get } = await tracked();
      const body = pattern(700_001);
      await put('models/big', body);
      const parts: Uint8Array[] = [];
      for (let at = 0; at < body.byteLength; at += 262_143) {
        parts.push(
          new Uint8Array(
            await (await get('models/big', { range: `bytes=${at}-${at + 262_142}` })).arrayBuffer(),
          ),
        );
      }
      expect(Buffer.compare(Buffer.concat(parts), body)).toBe(0);
    });

    test('nothing is found where nothing is stored, and forged or expired URLs get nothing', async () => {
      const { objects, baseUrl, request, put, get, elapse } = await tracked();
      expect((await get('none')).status).toBe(404);
      await put('secret.txt', text);
      await put('public.txt', 'hello');
      const url = await objects.signGet({ key: 'public.txt', expiresInMs: 60_000, baseUrl });
      expect((await request(url.replace('public', 'secret'), { method: 'GET' })).status).toBe(403);
      if (!elapse) return;
      await elapse(60_000);
      expect((await request(url, { method: 'GET' })).status).toBe(403);
    });
  });
}
