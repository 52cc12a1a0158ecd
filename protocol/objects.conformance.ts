import { afterEach, describe, expect, test } from 'vitest';
import type { SignPut } from './objects.ts';
import {
  collect,
  content,
  type ObjectsSetup,
  type ObjectsUnderTest,
  sha256,
  type Tracked,
  text,
  verbs,
} from './objects-fixture.conformance.ts';
import { downloadSuite, uploadSuite } from './objects-signed.conformance.ts';

/**
 * What every Objects must do. `setup` gives a fresh, empty store for each test; it is closed after.
 * Statuses of refusals are asserted as ranges: S3 words them its own way.
 */
export function objectsConformance(name: string, setup: ObjectsSetup): void {
  describe(`objects: ${name}`, () => {
    const open: ObjectsUnderTest[] = [];
    const tracked = async () => {
      const under = await setup();
      open.push(under);
      return Object.assign({}, under, verbs(under));
    };
    afterEach(async () => {
      for (const under of open.splice(0)) await under.close();
    });
    uploadSuite(tracked);
    downloadSuite(tracked);
    storeSuite(tracked);
  });
}

function storeSuite(tracked: Tracked): void {
  describe('the store', () => {
    test('a local file is stored once; other content under its key is a conflict', async () => {
      const { objects, put } = await tracked();
      const first = await put('models/m', text);
      expect(first).toMatchObject({
        key: 'models/m',
        bytes: 17,
        sha256: sha256(content),
        mime: 'text/plain',
      });
      expect(await put('models/m', text)).toMatchObject({ sha256: first.sha256 });
      await expect(put('models/m', 'another tide')).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await collect(await objects.read('models/m'))).toBe(text);
    });

    test('a local file that is not there is named', async () => {
      const { objects } = await tracked();
      await expect(
        objects.putFile({ key: 'a', path: '/nowhere/at/all', mime: 'text/plain' }),
      ).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('/nowhere/at/all') });
    });

    test('reads take a range with both ends included', async () => {
      const { objects, put } = await tracked();
      await put('a.txt', text);
      expect(await collect(await objects.read('a.txt', { start: 4, end: 7 }))).toBe('tide');
      expect(await collect(await objects.read('a.txt', { start: 15, end: 4_000 }))).toBe('in');
      for (const range of [
        { start: 17, end: 20 },
        { start: 5, end: 4 },
        { start: -1, end: 4 },
      ]) {
        await expect(objects.read('a.txt', range)).rejects.toMatchObject({
          code: 'VALIDATION_FAILED',
          errors: [{ pointer: '/range' }],
        });
      }
      await expect(objects.read('none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('what is deleted is gone, its key is free, and deleting nothing is fine', async () => {
      const { objects, put } = await tracked();
      await put('a/b/c', text);
      await objects.delete('a/b/c');
      await objects.delete('a/b/c');
      expect(await objects.head('a/b/c')).toBeNull();
      expect(await put('a/b/c', 'new content')).toMatchObject({ bytes: 11 });
    });

    test('lists walk all keys of a prefix in order, page by page', async () => {
      const { objects, put } = await tracked();
      const keys = ['a', 'a-b/x', 'a.b', 'a/a', 'a/a/a', 'a/b', 'a0', 'ab', 'b/c/d', 'b/c/e'];
      for (const key of keys.toReversed()) await put(key, key);
      const walk = async (prefix: string, limit: number) => {
        const found: string[] = [];
        for (let after: string | null = null; ; ) {
          const page = await objects.list({ prefix, after, limit });
          found.push(...page.map((info) => info.key));
          if (page.length < limit) return found;
          after = page.at(-1)!.key;
        }
      };
      for (const limit of [1, 3, 1_000]) expect(await walk('', limit)).toEqual(keys);
      for (const prefix of ['a', 'a/', 'a/a', 'b/c/', 'b/c/d', 'z', 'a-']) {
        expect(await walk(prefix, 2)).toEqual(keys.filter((key) => key.startsWith(prefix)));
      }
      for (const key of keys) expect(await collect(await objects.read(key))).toBe(key);
    });

    test.each([0, 1_001, 1.5])('a list of %d is refused by name', async (limit) => {
      const { objects } = await tracked();
      await expect(objects.list({ prefix: '', after: null, limit })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/limit' }],
      });
    });

    test.each([
      '',
      '/',
      '/etc/passwd',
      '../secret',
      'a/../b',
      'a/./b',
      'a//b',
      'a/',
      '.hidden',
      'a/.hidden',
      'a\\b',
      'a b',
      'a\u0000b',
      'a%2fb',
      'ä',
      'x'.repeat(201),
      `${'a/'.repeat(256)}b`,
      'a~object',
      'a?b',
      'a#b',
    ])('the key %j is refused by every method', async (key) => {
      const { objects, baseUrl, put } = await tracked();
      const refused = { code: 'VALIDATION_FAILED', errors: [{ pointer: '/key' }] };
      await expect(put(key, text)).rejects.toMatchObject(refused);
      await expect(objects.head(key)).rejects.toMatchObject(refused);
      await expect(objects.read(key)).rejects.toMatchObject(refused);
      await expect((async () => objects.delete(key))()).rejects.toMatchObject(refused);
      await expect(objects.signGet({ key, expiresInMs: 1_000, baseUrl })).rejects.toMatchObject(refused);
      await expect(
        objects.signPut({
          key,
          bytes: null,
          sha256: null,
          limitBytes: 1,
          mime: 'text/plain',
          expiresInMs: 1_000,
          baseUrl,
        }),
      ).rejects.toMatchObject(refused);
    });

    test.each<[string, Partial<SignPut>]>([
      ['/expiresInMs', { expiresInMs: 900_001 }],
      ['/expiresInMs', { expiresInMs: 0 }],
      ['/expiresInMs', { expiresInMs: Number.NaN }],
      ['/limitBytes', { limitBytes: -1 }],
      ['/limitBytes', { limitBytes: 2 ** 50 }],
      ['/bytes', { bytes: 101 }],
      ['/bytes', { bytes: 1.5 }],
      ['/sha256', { sha256: 'ABC' }],
      ['/mime', { mime: 'text/html\r\nx-evil: 1' }],
    ])('terms with a wrong %s are refused by name', async (pointer, wrong) => {
      const { objects, baseUrl } = await tracked();
      const terms = {
        key: 'a',
        bytes: null,
        sha256: null,
        limitBytes: 100,
        mime: 'text/plain',
        expiresInMs: 1_000,
        baseUrl,
      };
      await expect(objects.signPut({ ...terms, ...wrong })).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer }],
      });
    });

    test('a download name that is a path is refused', async () => {
      const { objects, baseUrl } = await tracked();
      const signed = objects.signGet({ key: 'a', expiresInMs: 1_000, baseUrl, downloadName: '../"evil' });
      await expect(signed).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        errors: [{ pointer: '/downloadName' }],
      });
    });
  });
}
