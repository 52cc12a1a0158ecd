import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ContractHub, json, problem, sampleJob } from './cli/contract-hub.ts';
import { HubClient } from './client.ts';
import { inputName, mimeOf } from './client-files.ts';
import { HubUnreachable, NotAHub } from './client-http.ts';
import { systemClock } from './env.ts';
import { quietEnv } from './quiet-client.ts';

const env = quietEnv();

let hub: ContractHub;
let dir: string;
let client: HubClient;
beforeEach(async () => {
  hub = await ContractHub.start();
  dir = await mkdtemp(join(tmpdir(), 'emp-client-'));
  client = new HubClient({ baseUrl: hub.url, env });
});
afterEach(async () => {
  await hub.stop();
  await rm(dir, { recursive: true, force: true });
});

describe('answers and errors', () => {
  test('a problem document becomes an error with code, fields and trace id', async () => {
    hub.on('POST /v1/jobs', ({ response }) =>
      problem(response, 400, 'VALIDATION_FAILED', 'two fields are wrong', [
        { pointer: '/priority', detail: 'at most 100' },
      ]),
    );
    await expect(client.submit({ service: 'image', priority: 200 })).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
      message: 'two fields are wrong',
      errors: [{ pointer: '/priority', detail: 'at most 100' }],
      fields: { traceId: 'a'.repeat(32), status: 400 },
    });
  });

  test('a code of a newer hub keeps its meaning by its status', async () => {
    hub.on('GET /v1/jobs/x', ({ response }) => problem(response, 404, 'BRAND_NEW', 'gone'));
    await expect(client.get('x')).rejects.toMatchObject({ code: 'NOT_FOUND', fields: { code: 'BRAND_NEW' } });
  });

  test.each([
    ['a page of another server', 500, '<html>oops</html>'],
    ['a success that is not JSON', 200, 'hello'],
    ['an error document without a code', 502, '{"message":"bad gateway"}'],
  ])('%s is not taken for a hub', async (_name, status, text) => {
    hub.on('GET /v1/status', ({ response }) => void response.writeHead(status).end(text));
    await expect(client.status()).rejects.toThrow(NotAHub);
  });

  test('a refused connection names the URL and the reason', async () => {
    const { url } = hub;
    await hub.stop();
    hub = await ContractHub.start();
    const error = await new HubClient({ baseUrl: url, env }).status().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(HubUnreachable);
    expect(error).toMatchObject({ url, reason: 'ECONNREFUSED' });
  });

  test('a hub that accepts and never answers meets the time limit', async () => {
    hub.on('GET /v1/status', () => {});
    const hasty = new HubClient({ baseUrl: hub.url, env, timeoutMs: 30 });
    await expect(hasty.status()).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test("the caller's abort rejects with the caller's reason", async () => {
    const stop = new AbortController();
    hub.on('GET /v1/status', () => stop.abort(new Error('changed my mind')));
    await expect(client.status({ signal: stop.signal })).rejects.toThrow('changed my mind');
  });
});

describe('submit and wait', () => {
  test('a submission always carries an id, and 200 says that it was there already', async () => {
    hub.on('POST /v1/jobs', ({ response, body }) =>
      json(response, 200, { job: sampleJob({ id: JSON.parse(body).id }) }),
    );
    const { job, created } = await client.submit({ service: 'image' });
    expect(job.id).toMatch(/^job_[0-9a-f]+$/);
    expect(created).toBe(false);
  });

  test('a submission whose answer was lost is repeated under the same id', async () => {
    hub.on('GET /v1/status', ({ response }) => json(response, 200, {}));
    await client.status();
    let tries = 0;
    hub.on('POST /v1/jobs', ({ request, response, body }) => {
      tries += 1;
      if (tries === 1) return void request.socket.destroy();
      json(response, 200, { job: sampleJob({ id: JSON.parse(body).id }) });
    });
    await client.submit({ service: 'image' });
    const ids = hub.requests
      .filter(({ line }) => line === 'POST /v1/jobs')
      .map(({ body }) => JSON.parse(body).id);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  test('a hub that never answered is not waited for', async () => {
    hub.on('POST /v1/jobs', ({ request }) => void request.socket.destroy());
    await expect(client.submit({ service: 'image' })).rejects.toThrow(HubUnreachable);
    // Asked once; then it is looked at whether it is a hub at all.
    expect(hub.requests.map(({ line }) => line)).toEqual(['POST /v1/jobs', 'GET /livez']);
  });

  test('a refusal is not repeated', async () => {
    hub.on('POST /v1/jobs', ({ response }) => problem(response, 422, 'UNKNOWN_SERVICE', 'nobody offers x'));
    await expect(client.submit({ service: 'x' })).rejects.toMatchObject({ code: 'UNKNOWN_SERVICE' });
    expect(hub.requests).toHaveLength(1);
  });

  test('wait polls on until the job is terminal', async () => {
    const states = ['waiting', 'leased', 'succeeded'] as const;
    let polls = 0;
    hub.on('GET /v1/jobs/job_1', ({ response }) =>
      json(response, 200, { job: sampleJob({ state: states[polls++] ?? 'dead' }) }),
    );
    expect((await client.wait('job_1')).state).toBe('succeeded');
    expect(hub.requests[0]?.line).toBe('GET /v1/jobs/job_1?waitMs=30000');
    expect(polls).toBe(3);
  });

  test('an id with a slash cannot reach another path', async () => {
    await expect(client.get('../status')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(hub.requests[0]?.line).toBe('GET /v1/jobs/..%2Fstatus');
  });

  test('list sends every filter and a batch sends every job', async () => {
    hub.on('GET /v1/jobs', ({ response }) => json(response, 200, { items: [], nextCursor: null }));
    await client.list({ states: ['dead', 'failed'], label: 'run:a b', sinceMs: 5, limit: 7, cursor: 'c=' });
    expect(hub.requests[0]?.line).toBe(
      'GET /v1/jobs?state=dead%2Cfailed&label=run%3Aa+b&since=5&limit=7&cursor=c%3D',
    );
    hub.on('POST /v1/jobs/batch', ({ response, body }) =>
      json(response, 201, {
        items: JSON.parse(body).jobs.map((job: { id: string }) => ({ created: true, job: sampleJob(job) })),
      }),
    );
    const items = await client.submitBatch([{ id: 'a', service: 'image' }, { service: 'image' }]);
    expect(items.map(({ job }) => job.id)[0]).toBe('a');
    expect(items).toHaveLength(2);
  });
});

describe('files', () => {
  const content = 'hello picture';
  const sha256 = createHash('sha256').update(content).digest('hex');
  const output = {
    name: 'a.png',
    object: 'results/job_1/1/a.png',
    bytes: content.length,
    sha256,
    mime: 'image/png',
  };
  const serve = (text: string) => {
    hub.on(
      'GET /v1/jobs/job_1/outputs/a.png',
      ({ response }) => void response.writeHead(302, { location: '/objects/k?sig=1' }).end(),
    );
    hub.on('GET /objects/k', ({ response }) => void response.writeHead(200).end(text));
  };

  test('an upload tells size and hash first, then sends the bytes to the signed URL', async () => {
    const path = join(dir, 'my photo (1).png');
    await writeFile(path, content);
    hub.on('POST /v1/uploads', ({ response }) =>
      json(response, 201, { object: 'inputs/k', url: `${hub.url}/objects/k?sig=1`, expiresInMs: 1 }),
    );
    hub.on('PUT /objects/k', ({ response }) => void response.writeHead(201).end());
    expect(await client.upload(path)).toEqual({ name: 'my-photo--1-.png', object: 'inputs/k' });
    expect(JSON.parse(hub.requests[0]?.body ?? '')).toEqual({
      name: 'my-photo--1-.png',
      mime: 'image/png',
      bytes: content.length,
      sha256,
    });
    expect(hub.requests[1]).toMatchObject({ line: 'PUT /objects/k?sig=1', body: content });
    expect(hub.requests[1]?.headers['content-length']).toBe(String(content.length));
  });

  test.each([
    ['a missing file', 'none.png'],
    ['a folder', '.'],
    ['an empty file', 'empty.png'],
  ])('%s is refused before anything is sent', async (_name, name) => {
    await writeFile(join(dir, 'empty.png'), '');
    await expect(client.upload(join(dir, name))).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    expect(hub.requests).toEqual([]);
  });

  test('a download follows the redirect and has the committed bytes', async () => {
    serve(content);
    const path = await client.download('job_1', output, join(dir, 'new/folder'));
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  test.each([
    ['other bytes', 'hello_picture'],
    ['fewer bytes', 'hello'],
    ['more bytes', `${content}!`],
  ])('%s than committed leave no file', async (_name, text) => {
    serve(text);
    await expect(client.download('job_1', output, dir)).rejects.toMatchObject({ code: 'OUTPUT_MISSING' });
    expect(await readdir(dir)).toEqual([]);
  });

  test('a connection cut in the middle leaves no file', async () => {
    hub.on('GET /v1/jobs/job_1/outputs/a.png', ({ response }) => {
      response.writeHead(200, { 'content-length': content.length }).write('hel');
      systemClock.setTimeout(() => response.destroy(), 0);
    });
    await expect(client.download('job_1', output, dir)).rejects.toThrow(HubUnreachable);
    expect(await readdir(dir)).toEqual([]);
  });

  test('an output name that leaves its folder is refused', async () => {
    await expect(client.download('job_1', { ...output, name: '../a.png' }, dir)).rejects.toThrow(
      'would leave its folder',
    );
    expect(hub.requests).toEqual([]);
  });

  test('a model is registered, then those of its files are sent that the hub does not have', async () => {
    const path = join(dir, 'w.bin');
    await writeFile(path, content);
    for (const name of ['w.bin', 'known.bin']) {
      const ticket = { url: `${hub.url}/objects/w`, stored: name === 'known.bin' };
      hub.on(`POST /v1/models/m/files/${name}`, ({ response }) => json(response, 201, ticket));
    }
    hub.on('PUT /objects/w', ({ response }) => void response.writeHead(201).end());
    hub.on('PUT /v1/models/m', ({ response }) => json(response, 200, {}));
    const files = ['w.bin', 'known.bin'].map((name) => ({
      name,
      bytes: content.length,
      sha256,
      sources: [],
    }));
    await client.putModel(
      { id: 'm', service: 'upscale', kind: 'upscaler', files, memoryMb: 1, licence: 'MIT' },
      new Map(files.map(({ name }) => [name, path])),
    );
    expect(hub.requests.map(({ line }) => line)).toEqual([
      'PUT /v1/models/m',
      'POST /v1/models/m/files/w.bin',
      'PUT /objects/w',
      'POST /v1/models/m/files/known.bin',
    ]);
  });

  test('names of local files become names of inputs', () => {
    expect(inputName('/a/b/.hidden.png')).toBe('hidden.png');
    expect(inputName('/a/Übersicht.jpg')).toBe('bersicht.jpg');
    expect(inputName('/a/___')).toBe('input');
    expect(inputName(`/a/${'x'.repeat(300)}.png`)).toMatch(/^x{124}\.png$/);
    expect(mimeOf('A.JPG')).toBe('image/jpeg');
    expect(mimeOf('a')).toBe('application/octet-stream');
  });
});
