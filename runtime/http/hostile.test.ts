import { afterEach, describe, expect, test } from 'vitest';
import { ERROR_CODES, type ErrorCode } from '#protocol/errors.ts';
import { endHttpRigs, httpRig } from './http-rig.ts';

afterEach(endHttpRigs);

const json = { 'content-type': 'application/json' };

describe('wrong requests', () => {
  const deep = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`;
  test.each<
    [string, string, string, { headers?: Record<string, string>; body?: string }, ErrorCode, string[]]
  >([
    ['malformed JSON', 'POST', '/v1/jobs', { headers: json, body: '{"service":' }, 'VALIDATION_FAILED', []],
    ['an empty body', 'POST', '/v1/jobs', { headers: json, body: '' }, 'VALIDATION_FAILED', []],
    ['no body at all', 'POST', '/v1/jobs', {}, 'VALIDATION_FAILED', ['']],
    [
      'a form',
      'POST',
      '/v1/jobs',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=1' },
      'VALIDATION_FAILED',
      [],
    ],
    [
      'plain text',
      'POST',
      '/v1/jobs',
      { headers: { 'content-type': 'text/plain' }, body: '{}' },
      'VALIDATION_FAILED',
      [],
    ],
    [
      'a prototype',
      'POST',
      '/v1/jobs',
      { headers: json, body: '{"service":"simulation","__proto__":{"admin":true}}' },
      'VALIDATION_FAILED',
      [],
    ],
    [
      'nesting beyond any stack',
      'POST',
      '/v1/jobs',
      { headers: json, body: `{"service":"simulation","payload":${deep}}` },
      'VALIDATION_FAILED',
      [''],
    ],
    [
      'a body over 1 MiB',
      'POST',
      '/v1/jobs',
      { headers: json, body: `"${'x'.repeat(1_048_577)}"` },
      'BODY_TOO_LARGE',
      [],
    ],
    ['an unknown query', 'GET', '/v1/jobs?status=waiting', {}, 'VALIDATION_FAILED', ['/status']],
    ['a state that is none', 'GET', '/v1/jobs?state=waiting,done', {}, 'VALIDATION_FAILED', ['/state/1']],
    ['one query twice', 'GET', '/v1/jobs?service=a&service=b', {}, 'VALIDATION_FAILED', ['/service']],
    ['a limit in other words', 'GET', '/v1/jobs?limit=1e2', {}, 'VALIDATION_FAILED', ['/limit']],
    ['a limit over the most', 'GET', '/v1/jobs?limit=501', {}, 'VALIDATION_FAILED', ['/limit']],
    ['a cursor of another list', 'GET', '/v1/jobs?cursor=abc', {}, 'VALIDATION_FAILED', ['/cursor']],
    [
      'an event type that is none',
      'GET',
      '/v1/events?types=job.exploded',
      {},
      'VALIDATION_FAILED',
      ['/types/0'],
    ],
    [
      'a body for a cancel',
      'POST',
      '/v1/jobs/j/cancel',
      { headers: json, body: '{"force":true}' },
      'VALIDATION_FAILED',
      ['/force'],
    ],
    [
      'an upload whose name climbs',
      'POST',
      '/v1/uploads',
      { headers: json, body: '{"name":"../x","mime":"image/png"}' },
      'VALIDATION_FAILED',
      ['/name'],
    ],
    [
      'an upload over the limit',
      'POST',
      '/v1/uploads',
      { headers: json, body: '{"name":"x","mime":"image/png","bytes":9999999999999}' },
      'BODY_TOO_LARGE',
      ['/bytes'],
    ],
    ['an unknown job', 'GET', '/v1/jobs/none', {}, 'NOT_FOUND', []],
    ['an id that is a path', 'GET', '/v1/jobs/..%2F..%2Fetc', {}, 'NOT_FOUND', []],
    ['an endless id', 'GET', `/v1/jobs/${'x'.repeat(400)}`, {}, 'NOT_FOUND', []],
    ['an id of ten kilobytes', 'GET', `/v1/jobs/${'x'.repeat(10_000)}`, {}, 'NOT_FOUND', []],
    ['a machine id that none can be', 'GET', '/v1/machines/%00x', {}, 'NOT_FOUND', []],
    [
      'a limit of a name that none can have',
      'PUT',
      '/v1/limits/a%20b',
      { headers: json, body: '{"pool":"p","concurrent":1}' },
      'VALIDATION_FAILED',
      ['/name'],
    ],
    [
      'a schedule of one',
      'PUT',
      '/v1/schedules/a%20b',
      { headers: json, body: '{}' },
      'VALIDATION_FAILED',
      ['/name'],
    ],
    [
      'a pause of one',
      'PUT',
      '/v1/pauses/pool/%00x',
      { headers: json, body: '{}' },
      'VALIDATION_FAILED',
      ['/name'],
    ],
    [
      'a pause of another kind',
      'PUT',
      '/v1/pauses/machine/%00x',
      { headers: json, body: '{}' },
      'NOT_FOUND',
      [],
    ],
    ['a resume of one', 'DELETE', '/v1/pauses/pool/%00x', {}, 'NOT_FOUND', []],
    [
      'a model of an id that none can have',
      'PUT',
      '/v1/models/a%20b',
      { headers: json, body: '{}' },
      'VALIDATION_FAILED',
      ['/id'],
    ],
    ['an unknown path', 'GET', '/admin', {}, 'NOT_FOUND', []],
    ['a malformed path', 'GET', '/v1/jobs/%E0%A4%A', {}, 'VALIDATION_FAILED', []],
    ['a method that the path does not take', 'DELETE', '/v1/jobs', {}, 'METHOD_NOT_ALLOWED', []],
    ['an object without a signature', 'GET', '/objects/uploads/a/b', {}, 'FORBIDDEN', []],
    [
      'an object outside the folder',
      'GET',
      '/objects/..%2F..%2Fetc%2Fpasswd?method=GET',
      {},
      'FORBIDDEN',
      [],
    ],
  ])('%s is answered with its problem', async (_, method, url, options, code, pointers) => {
    const { ask } = await httpRig();
    const answer = await ask(method, url, {
      ...options,
      headers: {
        'x-request-id': 'req-7',
        traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
        ...options.headers,
      },
    });
    expect(answer.type).toMatch(/^application\/problem\+json/);
    expect(answer.status).toBe(ERROR_CODES[code].status);
    expect(answer.body).toMatchObject({
      code,
      type: `urn:emp:error:${code}`,
      status: ERROR_CODES[code].status,
      title: ERROR_CODES[code].title,
      traceId: 'a'.repeat(32),
    });
    expect(answer.body.detail.length).toBeGreaterThan(10);
    expect(answer.body.errors.map((each: { pointer: string }) => each.pointer)).toEqual(pointers);
    expect(answer.headers['x-request-id']).toBe('req-7');
  });

  test('a method that a path does not take is answered with those that it takes', async () => {
    const { ask } = await httpRig();
    expect((await ask('DELETE', '/v1/jobs')).headers['allow']).toBe('GET, POST');
    expect((await ask('PATCH', '/v1/models/x')).headers['allow']).toBe('GET, PUT');
  });

  test('an answer lists at most a hundred wrong fields', async () => {
    const { ask } = await httpRig();
    const wrong = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`field${index}`, 1]));
    const answer = await ask('POST', '/v1/jobs', { json: { service: 'simulation', ...wrong } });
    expect(answer.body.errors).toHaveLength(100);
    expect(answer.text.length).toBeLessThan(20_000);
  });

  test('a request id that could break a log line is replaced', async () => {
    const { ask } = await httpRig();
    const answer = await ask('GET', '/livez', { headers: { 'x-request-id': 'a b"c' } });
    expect(answer.headers['x-request-id']).toMatch(/^req_[0-9a-f]+$/);
  });

  test('a malformed traceparent fails nothing: the job gets one of ours', async () => {
    const { ask } = await httpRig();
    const answer = await ask('POST', '/v1/jobs', {
      json: { service: 'simulation' },
      headers: { traceparent: '00-0-0-0' },
    });
    expect(answer.body.job.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00`;
    expect(
      (await ask('POST', '/v1/jobs', { json: { service: 'simulation' }, headers: { traceparent } })).body.job
        .traceparent,
    ).toBe(traceparent);
  });
});

describe('foreign pages', () => {
  test.each([
    ['a name that resolves to us', { host: 'evil.example' }],
    ['a name that begins like ours', { host: 'localhost.evil.example:7700' }],
    ['an address of the network', { host: '192.168.0.7:7700' }],
    ['a page of another origin', { origin: 'https://evil.example' }],
    ['an origin that says nothing', { origin: 'null' }],
    ['a fetch across sites', { 'sec-fetch-site': 'cross-site' }],
  ])('%s is refused, also for reads and probes', async (_, headers) => {
    const { ask } = await httpRig();
    for (const [method, url] of [
      ['GET', '/v1/jobs'],
      ['POST', '/v1/jobs/j/cancel'],
      ['GET', '/livez'],
    ] as const) {
      expect(await ask(method, url, { headers })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
    }
  });

  test.each(['localhost', 'LOCALHOST:7700', '127.0.0.1:7700', '[::1]:7700'])(
    '%s is one of our names',
    async (host) => {
      const { ask } = await httpRig();
      expect((await ask('GET', '/livez', { headers: { host, origin: `http://${host}` } })).status).toBe(200);
    },
  );
});

describe('probes', () => {
  test('R25: a closed broker and a stop make the hub unready, alive it stays', async () => {
    const { rig, ask } = await httpRig({ reconcileEveryMs: 3_600_000 });
    expect(await ask('GET', '/readyz')).toMatchObject({ status: 200, text: 'ok\n' });
    expect((await ask('GET', '/readyz?verbose')).text).toContain('records: ok');
    rig.server.loseAll();
    expect(await ask('GET', '/readyz')).toMatchObject({
      status: 503,
      text: expect.stringContaining('broker: closed'),
    });
    await rig.core.stop();
    expect(await ask('GET', '/readyz')).toMatchObject({
      status: 503,
      text: expect.stringContaining('stopping'),
    });
    expect((await ask('GET', '/livez')).status).toBe(200);
  });

  test('a stopping hub takes no job and says so', async () => {
    const { rig, ask } = await httpRig();
    await rig.core.stop();
    const answer = await ask('POST', '/v1/jobs', { json: { service: 'simulation' } });
    expect(answer).toMatchObject({
      status: 503,
      body: { code: 'DRAINING', retryable: true },
      headers: { 'retry-after': '1' },
    });
  });
});
