import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { objectsConformance } from '#protocol/objects.conformance.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { type FolderObjects, folderObjects } from './folder.ts';

const secret = 'k'.repeat(43);

/** The route as a hub has it. */
async function serve(
  objects: FolderObjects,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = request.url ?? '';
  if (request.method === 'PUT') {
    const answer = await objects.acceptSignedPut(url, request, request.headers);
    response
      .writeHead(
        answer.kind === 'stored' ? 201 : answer.status,
        answer.kind === 'stored' ? {} : answer.headers,
      )
      .end();
    return;
  }
  const answer = await objects.openSignedGet(url, request.headers.range);
  if (answer.kind === 'refused') {
    response.writeHead(answer.status, answer.headers).end();
    return;
  }
  response.writeHead(answer.status, answer.headers);
  await pipeline(Readable.from(answer.body), response);
}

objectsConformance('folder', async () => {
  const root = mkdtempSync(join(tmpdir(), 'emp-objects-'));
  const clock = new VirtualClock();
  const objects = folderObjects({ dir: join(root, 'store'), secret, clock });
  const server = createServer((request, response) => {
    serve(objects, request, response).catch((error: unknown) =>
      response.destroy(error instanceof Error ? error : undefined),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let files = 0;
  return {
    objects,
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    request: (url, init) => fetch(url, init as RequestInit),
    elapse: (ms) => clock.advanceBy(ms),
    localFile: async (bytes) => {
      const path = join(root, `local-${files++}`);
      writeFileSync(path, bytes);
      return path;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await objects.close();
      rmSync(root, { recursive: true });
    },
  };
});

describe('the folder', () => {
  let root: string;
  let dir: string;
  const clock = new VirtualClock();
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'emp-objects-'));
    dir = join(root, 'store');
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const open = () => folderObjects({ dir, secret, clock });
  const leftovers = () => readdirSync(join(dir, 'temporary'));

  const signed = (objects: FolderObjects, over = {}) =>
    objects.signPut({
      key: 'a',
      bytes: null,
      sha256: null,
      limitBytes: 1_000,
      mime: 'text/plain',
      expiresInMs: 1_000,
      baseUrl: 'http://hub',
      ...over,
    });
  async function* chunks(...parts: (string | Error)[]): AsyncIterable<Uint8Array> {
    for (const part of parts) {
      if (part instanceof Error) throw part;
      yield Buffer.from(part);
    }
  }

  test('an upload whose connection breaks leaves nothing', async () => {
    const objects = open();
    const answer = await objects.acceptSignedPut(
      await signed(objects),
      chunks('half of', new Error('reset')),
      {},
    );
    expect(answer).toMatchObject({
      kind: 'refused',
      status: 400,
      error: { code: 'VALIDATION_FAILED', message: expect.stringContaining('ended before') },
    });
    expect(leftovers()).toEqual([]);
    expect(await objects.head('a')).toBeNull();
  });

  test('an upload that never ends is cut at its limit', async () => {
    const objects = open();
    let sent = 0;
    async function* endless(): AsyncIterable<Uint8Array> {
      for (;;) {
        sent += 400;
        yield new Uint8Array(400);
      }
    }
    const answer = await objects.acceptSignedPut(await signed(objects), endless(), {});
    expect(answer).toMatchObject({ kind: 'refused', status: 413, error: { code: 'BODY_TOO_LARGE' } });
    expect(sent).toBe(1_200);
    expect(leftovers()).toEqual([]);
  });

  test.each([
    [{ 'content-length': '1001' }, 413],
    [{ 'content-length': 'many' }, 400],
    [{ 'content-length': '-1' }, 400],
    [{ 'content-encoding': 'gzip' }, 400],
    [{ 'content-type': 'text/html' }, 400],
  ])('headers %j are refused before the first byte is read', async (headers, status) => {
    const objects = open();
    const answer = await objects.acceptSignedPut(
      await signed(objects),
      chunks(new Error('nobody reads this')),
      headers,
    );
    expect(answer).toMatchObject({ kind: 'refused', status });
  });

  test('an answer tells whether the object is new', async () => {
    const objects = open();
    const url = await signed(objects);
    expect(await objects.acceptSignedPut(url, chunks('a', 'b'), {})).toMatchObject({
      kind: 'stored',
      created: true,
      info: { bytes: 2 },
    });
    expect(await objects.acceptSignedPut(url, chunks('ab'), {})).toMatchObject({
      kind: 'stored',
      created: false,
    });
    expect(await objects.acceptSignedPut(url, chunks('cd'), {})).toMatchObject({
      kind: 'refused',
      status: 409,
      error: { code: 'CONFLICT' },
    });
    expect(leftovers()).toEqual([]);
  });

  test('a stored page is not run on the origin of the hub', async () => {
    const objects = open();
    await objects.acceptSignedPut(
      await signed(objects, { mime: 'text/html' }),
      chunks('<script>1</script>'),
      {},
    );
    const answer = await objects.openSignedGet(
      await objects.signGet({ key: 'a', expiresInMs: 1_000, baseUrl: 'http://hub' }),
    );
    expect(answer).toMatchObject({
      kind: 'ok',
      headers: {
        'x-content-type-options': 'nosniff',
        'content-security-policy': expect.stringContaining('sandbox'),
      },
    });
  });

  test('a new start sweeps what dead processes left and nothing else', async () => {
    const objects = open();
    await objects.acceptSignedPut(await signed(objects), chunks('kept'), {});
    let finish: (() => void) | undefined;
    const under = (async function* () {
      yield Buffer.from('half ');
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      yield Buffer.from('and half');
    })();
    const running = objects.acceptSignedPut(await signed(objects, { key: 'running' }), under, {});
    await expect.poll(() => finish).toBeTypeOf('function');
    const [own] = leftovers();
    const host = hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-');
    const names = {
      dead: `${host}~999999999~aaaaaa`,
      earlier: `${host}~${process.pid}~bbbbbb`,
      parent: `${host}~${process.ppid}~cccccc`,
      foreign: 'elsewhere~1~dddddd',
      old: 'elsewhere~1~eeeeee',
    };
    for (const name of Object.values(names)) {
      mkdirSync(join(dir, 'temporary', name));
      writeFileSync(join(dir, 'temporary', name, 'data'), 'half');
      utimesSync(
        join(dir, 'temporary', name),
        clock.now() / 1_000,
        (clock.now() - (name === names.old ? 90_000_000 : 0)) / 1_000,
      );
    }
    open();
    expect(leftovers().sort()).toEqual([own, names.parent, names.foreign].sort());
    finish?.();
    expect(await running).toMatchObject({ kind: 'stored', info: { bytes: 13 } });
    expect(await open().head('a')).toMatchObject({ bytes: 4 });
  });

  test('a damaged object is named and not handed out', async () => {
    const objects = open();
    await objects.acceptSignedPut(await signed(objects, { key: 'x/y' }), chunks('whole'), {});
    truncateSync(join(dir, 'objects', 'x', 'y~object', 'data'), 3);
    await expect(objects.head('x/y')).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('3 bytes instead of 5'),
    });
    writeFileSync(join(dir, 'objects', 'x', 'y~object', 'meta.json'), '{"key":');
    await expect(objects.read('x/y')).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('damaged'),
    });
    await objects.delete('x/y');
    expect(await objects.head('x/y')).toBeNull();
    expect(readdirSync(join(dir, 'objects'))).toEqual([]);
  });

  test('a reader of an object that is deleted meanwhile reads it to its end', async () => {
    const objects = open();
    const body = Buffer.alloc(2_000_000, 'x');
    writeFileSync(join(root, 'local'), body);
    await objects.putFile({ key: 'a/b', path: join(root, 'local'), mime: 'text/plain' });
    const reader = (await objects.read('a/b'))[Symbol.asyncIterator]();
    let bytes = (await reader.next()).value?.byteLength ?? 0;
    await objects.delete('a/b');
    for (let part = await reader.next(); !part.done; part = await reader.next())
      bytes += part.value.byteLength;
    expect(bytes).toBe(body.byteLength);
    expect(readFileSync(join(root, 'local')).byteLength).toBe(bytes);
  });

  test('puts and deletes of neighbouring keys at once lose nothing', async () => {
    const objects = open();
    writeFileSync(join(root, 'local'), 'content');
    const put = (key: string) => objects.putFile({ key, path: join(root, 'local'), mime: 'text/plain' });
    await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        await put(`deep/er/${n}`);
        if (n % 2) await objects.delete(`deep/er/${n}`);
      }),
    );
    const kept = await objects.list({ prefix: 'deep/', after: null, limit: 1_000 });
    expect(kept.map((info) => info.key).sort()).toEqual(
      Array.from({ length: 30 }, (_, n) => `deep/er/${n * 2}`).sort(),
    );
  });

  test('a folder that is a file, and a short secret, are refused with what to do', () => {
    writeFileSync(dir, 'not a folder');
    expect(open).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('Name a folder') }),
    );
    expect(() => folderObjects({ dir: join(root, 'other'), secret: 'short', clock })).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});
