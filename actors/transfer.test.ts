import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Disk } from '#protocol/disk.ts';
import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Http } from '#protocol/http.ts';
import { systemEnv } from '#runtime/env.ts';
import { processLog } from '#runtime/log.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { nodeDisk } from './node-disk.ts';
import { nodeHttp } from './node-http.ts';
import { download, hashFile, hostOf, upload } from './transfer.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));

/** Waits of retries pass at once; the transfers themselves are real. */
function hastyEnv(): Pick<Env, 'clock' | 'rng'> {
  const { clock, rng } = systemEnv(processLog({ level: 'silent', fields: {} }));
  return {
    rng,
    clock: { ...clock, setTimeout: (fn, delayMs) => clock.setTimeout(fn, delayMs > 10_000 ? delayMs : 0) },
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** Serves ranges of `bytes` as a good server does. */
function serveRange(bytes: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const start = match === null ? 0 : Number(match[1]);
  if (start >= bytes.length && match !== null) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` });
    response.end();
    return;
  }
  response.writeHead(match === null ? 200 : 206, {
    'content-length': bytes.length - start,
    ...(match === null ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  response.end(bytes.subarray(start));
}

async function setup(handler: Handler, ports: { disk?: Disk; http?: Http } = {}) {
  const dir = await mkdtemp(`${tmpdir()}/emp-transfer-`);
  const requests: {
    method: string;
    range: string | undefined;
    headers: IncomingMessage['headers'];
    body: Buffer;
  }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    const serve = () => {
      requests.push({
        method: request.method ?? '',
        range: request.headers.range,
        headers: request.headers,
        body: Buffer.concat(chunks),
      });
      handler(request, response, requests.length);
    };
    request.on('end', serve);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(dir, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`;
  const path = `${dir}/file`;
  const all = { env: hastyEnv(), disk: ports.disk ?? nodeDisk, http: ports.http ?? nodeHttp };
  const get = (
    options: {
      bytes?: number | null;
      limitBytes?: number;
      onBytes?: (bytes: number) => void;
      signal?: AbortSignal;
    } = {},
  ) =>
    download(all, {
      url,
      path,
      bytes: content.length,
      limitBytes: 1_000_000,
      code: 'MODEL_UNAVAILABLE',
      signal: new AbortController().signal,
      ...options,
    });
  const put = (options: { bytes: number; sha256: string; url?: string }) =>
    upload(all, { url, path, mime: 'image/png', signal: new AbortController().signal, ...options });
  return { dir, path, url, requests, get, put };
}

const whole: Handler = (request, response) => serveRange(content, request, response);

describe('download', () => {
  test('brings the file whole and tells its hash and its growth', async () => {
    const { get, path } = await setup(whole);
    const seen: number[] = [];
    expect(await get({ onBytes: (bytes) => seen.push(bytes) })).toEqual({
      bytes: content.length,
      sha256: sha256(content),
    });
    expect(await readFile(path)).toEqual(content);
    expect(seen.at(-1)).toBe(content.length);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  test('continues a part that is there by a range, and hashes all of it', async () => {
    const { get, path, requests } = await setup(whole);
    await writeFile(path, content.subarray(0, 100_000));
    expect(await get()).toEqual({ bytes: content.length, sha256: sha256(content) });
    expect(requests.map((request) => request.range)).toEqual(['bytes=100000-']);
    expect(await readFile(path)).toEqual(content);
  });

  test('a complete part is hashed and nothing is asked', async () => {
    const { get, path, requests } = await setup(whole);
    await writeFile(path, content);
    expect(await get()).toMatchObject({ sha256: sha256(content) });
    expect(requests).toEqual([]);
  });

  test('starts over with a server that knows no ranges', async () => {
    const { get, path } = await setup((_, response) => response.end(content));
    await writeFile(path, content.subarray(0, 100_000));
    expect(await get()).toMatchObject({ sha256: sha256(content) });
    expect(await readFile(path)).toEqual(content);
  });

  test('starts over when the part belongs to another object (416)', async () => {
    const small = content.subarray(0, 1_000);
    const { get, path, requests } = await setup((request, response) => serveRange(small, request, response));
    await writeFile(path, content.subarray(0, 5_000));
    expect(await get({ bytes: null })).toEqual({ bytes: 1_000, sha256: sha256(small) });
    expect(requests.map((request) => request.range)).toEqual(['bytes=5000-', undefined]);
  });

  test('a part longer than the file is thrown away', async () => {
    const { get, path } = await setup(whole);
    await writeFile(path, Buffer.alloc(content.length + 1));
    expect(await get()).toMatchObject({ sha256: sha256(content) });
  });

  test('a connection that is cut is continued where it broke', async () => {
    const { get, requests } = await setup((request, response, count) => {
      if (count > 1) return serveRange(content, request, response);
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 150_000), () => response.destroy());
    });
    expect(await get()).toEqual({ bytes: content.length, sha256: sha256(content) });
    expect(Number(/\d+/.exec(requests[1]?.range ?? '')?.[0])).toBeGreaterThan(0);
  });

  test('a body that ends early without a length is continued, too', async () => {
    const { get, requests } = await setup((request, response, count) => {
      if (count > 1) return serveRange(content, request, response);
      response.end(content.subarray(0, 99_999));
    });
    expect(await get()).toMatchObject({ sha256: sha256(content) });
    expect(requests[1]?.range).toBe('bytes=99999-');
  });

  test.each([500, 503, 429, 408])('status %i is tried again', async (status) => {
    const { get, requests } = await setup((request, response, count) => {
      if (count > 2) return serveRange(content, request, response);
      response.writeHead(status).end('no');
    });
    expect(await get()).toMatchObject({ sha256: sha256(content) });
    expect(requests).toHaveLength(3);
  });

  test.each([403, 404, 410])('status %i is not', async (status) => {
    const { get, requests } = await setup((_, response) => response.writeHead(status).end('no'));
    await expect(get()).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining(`status ${status}`),
    });
    expect(requests).toHaveLength(1);
  });

  test('gives up after four tries', async () => {
    const { get, requests } = await setup((_, response) => response.writeHead(503).end());
    await expect(get()).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(requests).toHaveLength(4);
  });

  test('more bytes than registered, or than the limit, are refused while they stream', async () => {
    const { get } = await setup(whole);
    await expect(get({ bytes: 1_000 })).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringContaining('1000'),
    });
    await expect(get({ bytes: null, limitBytes: 1_000 })).rejects.toMatchObject({
      message: expect.stringContaining('at most 1000'),
    });
  });

  test('another range than asked for is refused', async () => {
    const { get, path } = await setup((_, response) => {
      response.writeHead(206, { 'content-range': `bytes 5-9/${content.length}` });
      response.end(content.subarray(5, 10));
    });
    await writeFile(path, content.subarray(0, 100));
    await expect(get()).rejects.toMatchObject({ message: expect.stringContaining('another range') });
  });

  test('a disk without room is told as such, and not tried again', async () => {
    let opened = 0;
    const full: Disk = {
      ...nodeDisk,
      append: async () => {
        opened++;
        return {
          write: () => Promise.reject(new EmpError('DISK_FULL')),
          close: async () => undefined,
        };
      },
    };
    const { get } = await setup(whole, { disk: full });
    await expect(get()).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(opened).toBe(1);
  });

  test('an abort ends it in the middle, and closes the file', async () => {
    const controller = new AbortController();
    const { get } = await setup((_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 1_000));
    });
    const work = get({ signal: controller.signal, onBytes: () => controller.abort(new Error('cancelled')) });
    await expect(work).rejects.toThrow('cancelled');
  });

  test('a source that falls silent is given up after a minute', async () => {
    const env = simEnv({ seed: 1 });
    let opened = 0;
    const silent: Http = {
      ...nodeHttp,
      get: async () => {
        opened++;
        return {
          status: 200,
          start: 0,
          totalBytes: 10,
          body: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) },
        };
      },
    };
    const sink = { write: async () => undefined, close: async () => undefined };
    const disk = { ...nodeDisk, fileBytes: async () => null, append: async () => sink };
    const work = download(
      { env, disk, http: silent },
      {
        url: 'http://a',
        path: '/x',
        bytes: 10,
        limitBytes: 10,
        code: 'MODEL_UNAVAILABLE',
        signal: new AbortController().signal,
      },
    );
    const refused = expect(work).rejects.toMatchObject({ code: 'TIMEOUT' });
    await env.clock.advanceBy(4 * 60_000 + 20_000);
    await refused;
    expect(opened).toBe(4);
  });

  test('errors never name a signed URL', async () => {
    const { get } = await setup((_, response) => response.writeHead(404).end());
    const error = await get().catch((reason: Error) => reason);
    expect(String(error)).not.toContain('/x');
    expect(hostOf('https://bucket.example/key?X-Amz-Signature=secret')).toBe('bucket.example');
    expect(hostOf('secret')).toBe('an invalid URL');
  });
});

describe('upload', () => {
  test('puts exactly the bytes, with length, type and hash', async () => {
    const { put, path, requests } = await setup((_, response) => response.end());
    await writeFile(path, content);
    await put({ bytes: content.length, sha256: sha256(content) });
    const [request] = requests;
    expect(request?.body).toEqual(content);
    expect(request?.headers).toMatchObject({
      'content-length': String(content.length),
      'content-type': 'image/png',
      'content-digest': `sha-256=:${createHash('sha256').update(content).digest('base64')}:`,
    });
    expect(request?.headers['transfer-encoding']).toBeUndefined();
    expect(request?.headers['x-amz-checksum-sha256']).toBeUndefined();
  });

  test('names the hash in S3’s own header where the URL was signed for it', async () => {
    const { put, path, url, requests } = await setup((_, response) => response.end());
    await writeFile(path, 'x');
    await put({
      bytes: 1,
      sha256: sha256(Buffer.from('x')),
      url: `${url}?X-Amz-SignedHeaders=host%3Bx-amz-checksum-sha256`,
    });
    expect(requests[0]?.headers['x-amz-checksum-sha256']).toBe(
      createHash('sha256').update('x').digest('base64'),
    );
  });

  test('an empty file is an empty body with a length', async () => {
    const { put, path, requests } = await setup((_, response) => response.end());
    await writeFile(path, '');
    await put({ bytes: 0, sha256: sha256(Buffer.alloc(0)) });
    expect(requests[0]?.headers['content-length']).toBe('0');
  });

  test('transient answers are tried again with the whole body, others are not', async () => {
    const { put, path, requests } = await setup((_, response, count) =>
      response.writeHead(count === 1 ? 503 : 200).end(),
    );
    await writeFile(path, content);
    await put({ bytes: content.length, sha256: sha256(content) });
    expect(requests.map((request) => request.body.length)).toEqual([content.length, content.length]);
    const refusing = await setup((_, response) => response.writeHead(403).end('expired'));
    await writeFile(refusing.path, 'x');
    await expect(refusing.put({ bytes: 1, sha256: '' })).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
      message: expect.stringContaining('expired'),
    });
    expect(refusing.requests).toHaveLength(1);
  });
});

test('hashFile tells size and hash, and null where nothing is', async () => {
  const { path } = await setup(whole);
  expect(await hashFile(nodeDisk, path)).toBeNull();
  await writeFile(path, content);
  expect(await hashFile(nodeDisk, path)).toEqual({ bytes: content.length, sha256: sha256(content) });
});
