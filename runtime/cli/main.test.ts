import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ContractHub, json, problem, sampleJob } from './contract-hub.ts';
import { CliError } from './errors.ts';
import { type MainSetup, runMain } from './run-main.fixture.ts';

let hub: ContractHub;
let dir: string;
beforeEach(async () => {
  hub = await ContractHub.start();
  dir = await mkdtemp(join(tmpdir(), 'emp-cli-'));
});
afterEach(async () => {
  await hub.stop();
  await rm(dir, { recursive: true, force: true });
});

const emp = (args: string[], setup: MainSetup = {}) =>
  runMain(args, { ...setup, env: { EMP_STATE_DIR: dir, EMP_HUB: hub.url, ...setup.env } });

describe('usage', () => {
  test.each([
    ['an unknown command', ['jbos'], "unknown command 'jbos'"],
    ['an unknown option', ['jobs', '--colour'], "unknown option '--colour'"],
    ['a missing argument', ['run'], "missing required argument 'service'"],
    ['a surplus argument', ['status', 'now'], 'too many arguments'],
    ['a priority out of range', ['run', 'image', '--priority', '101'], 'whole number from 0 to 100'],
    ['a state that is none', ['jobs', '--state', 'running'], 'running is none of'],
    ['a duration that is none', ['jobs', '--timeout', 'soon'], '500ms, 30s, 5m, 1h or 2d'],
    ['a setting without a key', ['run', 'image', '--set', '=1'], 'has no key before'],
    ['a requirement without a value', ['run', 'image', '--require', 'vramMb'], 'write key=value'],
    ['a start that is no time', ['run', 'image', '--not-before', 'soon'], 'such as 1h or a time'],
    ['a negative time to live', ['run', 'image', '--ttl', '-5'], 'a duration above 0'],
    ['a setting of the prototype', ['run', 'image', '--set', '__proto__.x=1'], 'cannot be set'],
    ['two views at once', ['job', 'x', '--payload', '--result'], 'cannot be used with'],
    ['a bench that is none', ['bench', 'speed'], 'there is no bench "speed"'],
    ['a fault that is none', ['chaos', 'run', 'rain'], 'there is no fault "rain"'],
    ['a chaos command that is none', ['chaos', 'make'], 'too many arguments'],
    ['a history that is not there', ['chaos', 'check', 'no/such.jsonl'], 'no/such.jsonl does not exist'],
    ['a day without a name', ['sim', 'run'], 'needs the name of a scenario'],
    ['a day that is none', ['sim', 'run', 'dya'], 'there is no scenario "dya"'],
    ['a policy that is none', ['sim', 'run', 'hour', '--policy', 'emp,lifo'], 'there is no policy "lifo"'],
    ['a policy twice', ['sim', 'run', 'hour', '--policy', 'emp,emp'], 'Name each policy once'],
    ['no load', ['sim', 'run', 'hour', '--load', '0'], 'a number above 0'],
    ['seeds that run backwards', ['sim', 'run', 'hour', '--seeds', '3..1'], 'A not above B'],
    ['a flag of chaos for a day', ['sim', 'run', 'hour', '--hubs', '2'], "unknown option '--hubs'"],
    ['a flag of a day for chaos', ['sim', 'run', 'chaos', '--policy', 'emp'], "unknown option '--policy'"],
    ['a scenario file that is not there', ['sim', 'run', 'no/such.json'], 'no/such.json cannot be read'],
    ['a trace that is not there', ['sim', 'run', 'hour', '--workload', 'no.csv'], 'no.csv'],
    ['a result that is not there', ['sim', 'diff', 'a.json', 'b.json'], 'a.json: does not exist'],
    ['a fault run of no jobs', ['chaos', 'run', 'all', '--jobs', '0'], 'whole number from 20 to 100000'],
    ['a hub that is no URL', ['status', '--hub', 'localhost:7700'], '--hub is not the URL of a hub'],
    ['a time that is none', ['jobs', '--since', 'yesterday'], 'a duration such as 1h or a time'],
  ])('%s is refused with exit code 2 and asks no hub', async (_name, args, message) => {
    const { code, stdout, stderr } = await emp(args);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^error: .+\n {2}likely: .+\n {2}try: .+\n {2}code: EMP-USAGE\n$/);
    expect({ code, stdout, asked: hub.requests }).toEqual({ code: 2, stdout: '', asked: [] });
  });

  test('with --json the error is one JSON object on stderr', async () => {
    const { code, stdout, stderr } = await emp(['jobs', '--limit', '0', '--json']);
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'EMP-USAGE',
      exit: 2,
      error: expect.stringContaining('--limit'),
    });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test('help goes to stdout with exit code 0 and names every command once', async () => {
    const { code, stdout, stderr } = await emp(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const commands =
      'demo dev hub machine run jobs job cancel requeue events status machines drain cordon uncordon models bench chaos sim'.split(
        ' ',
      );
    for (const command of commands)
      expect(stdout.match(new RegExp(`^  ${command}\\b`, 'gm')), command).toHaveLength(1);
  });

  test('emp alone shows the help and is a usage error', async () => {
    expect(await emp([])).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage: emp') });
  });

  test('global options may stand before and after the command', async () => {
    hub.on('GET /v1/models', ({ response }) => json(response, 200, { items: [] }));
    hub.on('GET /v1/machines', ({ response }) => json(response, 200, { items: [] }));
    for (const args of [
      ['--json', 'models'],
      ['models', '--json'],
    ])
      expect((await emp(args)).stdout).toBe('{"items":[]}\n');
  });
});

describe('exit codes', () => {
  test.each([
    [404, 'NOT_FOUND', 3],
    [401, 'UNAUTHORIZED', 5],
    [403, 'FORBIDDEN', 5],
    [504, 'TIMEOUT', 6],
    [409, 'CONFLICT', 1],
    [503, 'RECORDS_UNAVAILABLE', 1],
  ])('%i %s ends with %i', async (status, code, exit) => {
    hub.on('POST /v1/jobs/j/cancel', ({ response }) => problem(response, status, code, 'because'));
    const { code: got, stderr } = await emp(['cancel', 'j']);
    expect(got).toBe(exit);
    expect(stderr).toContain('error: because');
    expect(stderr).toContain(`code: EMP-${code.replaceAll('_', '-')}`);
    expect(stderr).toContain(`trace: ${'a'.repeat(32)}`);
  });

  test('no hub ends with 4 and says how to start one', async () => {
    const { url } = hub;
    await hub.stop();
    hub = await ContractHub.start();
    const { code, stderr } = await emp(['status'], { env: { EMP_HUB: url } });
    expect(code).toBe(4);
    expect(stderr).toBe(
      `error: hub did not answer at ${url} (ECONNREFUSED)\n  likely: no hub is running there\n` +
        '  try: emp dev, or emp --hub URL …\n  code: EMP-HUB-UNREACHABLE\n',
    );
  });

  test('a server that is no hub ends with 4', async () => {
    hub.on('GET /v1/status', ({ response }) => void response.writeHead(200).end('<html>'));
    expect(await emp(['status'])).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('EMP-NOT-A-HUB'),
    });
  });

  test('a refused field is named', async () => {
    hub.on('POST /v1/jobs', ({ response }) =>
      problem(response, 422, 'PAYLOAD_INVALID', 'the payload does not fit', [
        { pointer: '/payload/format', detail: 'one of png, jpeg' },
      ]),
    );
    const { code, stderr } = await emp(['run', 'upscale', '--set', 'format=bmp']);
    expect(code).toBe(1);
    expect(stderr).toContain('  at /payload/format: one of png, jpeg\n');
  });

  test('an interrupted wait ends with 130 and says that the job goes on', async () => {
    const stop = new AbortController();
    hub.on('POST /v1/jobs', ({ response }) => json(response, 201, { job: sampleJob() }));
    hub.on('GET /v1/jobs/job_1', () => stop.abort(new CliError('EMP-INTERRUPTED', 'interrupted')));
    const { code, stderr } = await emp(['run', 'image', '--wait'], { signal: stop.signal });
    expect(code).toBe(130);
    expect(stderr).toContain('stopped waiting; job_1 goes on');
    expect(stderr).toContain('emp cancel job_1');
  });

  test('a hub that is told to end while it starts ends with 0 and never says that it answers', async () => {
    const stop = AbortSignal.abort(new CliError('EMP-INTERRUPTED', 'interrupted'));
    const env = { EMP_LOG_LEVEL: 'silent' };
    const args = ['hub', '--listen', '127.0.0.1:0', '--data', join(dir, 'hub')];
    expect(await emp(args, { signal: stop, env })).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('a wait past --timeout ends with 6', async () => {
    hub.on('POST /v1/jobs', ({ response }) => json(response, 201, { job: sampleJob() }));
    hub.on('GET /v1/jobs/job_1', () => {});
    const { code, stderr } = await emp(['run', 'image', '--wait', '--timeout', '60ms']);
    expect(code).toBe(6);
    expect(stderr).toContain('job_1 has not ended');
  });
});

describe('run', () => {
  beforeEach(() => {
    hub.on('POST /v1/jobs', ({ response, body }) =>
      json(response, 201, { job: sampleJob({ id: JSON.parse(body).id }) }),
    );
  });

  test('prints the id alone, and sends what the options say', async () => {
    await writeFile(join(dir, 'p.json'), '{"operations":[{"op":"grayscale"}],"deep":{"kept":1}}');
    const args = [
      'run',
      'image',
      '-f',
      join(dir, 'p.json'),
      '--set',
      'deep.n=2',
      '--set',
      'deep.t=two',
      '--set',
      'list=[1,2]',
      '--id',
      'mine',
    ];
    const { code, stdout } = await emp([
      ...args,
      '--priority',
      '7',
      '--pool',
      'heavy',
      '--label',
      'a=b=c',
      '--label',
      'd=e',
      '--max-attempts',
      '2',
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'mine\n' });
    expect(JSON.parse(hub.requests[0]?.body ?? '')).toEqual({
      id: 'mine',
      service: 'image',
      payload: { operations: [{ op: 'grayscale' }], deep: { kept: 1, n: 2, t: 'two' }, list: [1, 2] },
      priority: 7,
      pool: 'heavy',
      labels: { a: 'b=c', d: 'e' },
      maxAttempts: 2,
      inputs: [],
    });
  });

  test('reads the payload from stdin', async () => {
    await emp(['run', 'image', '-f', '-'], { stdin: '{"a":1}' });
    expect(JSON.parse(hub.requests[0]?.body ?? '')).toMatchObject({ payload: { a: 1 } });
  });

  test.each([
    ['is not JSON', '{a:1}', 'stdin is not JSON'],
    ['is a list', '[1]', 'the payload is not a JSON object'],
    ['is too long', `"${'x'.repeat(1_100_000)}"`, 'longer than 1048576 bytes'],
  ])('a payload that %s is a usage error', async (_name, stdin, message) => {
    expect(await emp(['run', 'image', '-f', '-'], { stdin })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(message),
    });
    expect(hub.requests).toEqual([]);
  });

  test('a job that fails ends with 1, and with --json prints the job on stdout and the error on stderr', async () => {
    const failed = sampleJob({
      id: 'bad',
      state: 'failed',
      error: { code: 'JOB_FAILED', message: 'no such colour', retryable: false },
    });
    hub.on('GET /v1/jobs/bad', ({ response }) => json(response, 200, { job: failed }));
    const { code, stdout, stderr } = await emp(['run', 'image', '--id', 'bad', '--wait', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ id: 'bad', state: 'failed' });
    expect(JSON.parse(stderr)).toMatchObject({
      code: 'EMP-JOB-FAILED',
      error: 'bad ended as failed: no such colour (JOB_FAILED)',
    });
  });

  test('a dry run submits nothing and shows its warnings', async () => {
    const plan = {
      pool: 'heavy',
      group: 'g',
      classes: [],
      machinesNow: 0,
      expectedStartMs: null,
      expectedMs: 5_000,
      warnings: ['no machine offers this'],
    };
    hub.on('POST /v1/jobs', ({ response }) => json(response, 200, plan));
    const { stdout, stderr } = await emp(['run', 'image', '--dry-run']);
    expect(hub.requests[0]?.line).toBe('POST /v1/jobs?dryRun=true');
    expect(stdout).toContain('expected start  unknown');
    expect(stderr).toBe('warning: no machine offers this\n');
  });
});

describe('what is printed', () => {
  const wild = sampleJob({ id: 'j1', reason: 'a\u001b[2Jb\nc', labels: { k: 'v' }, state: 'dead' });

  test("control characters of other people's text do not reach the terminal", async () => {
    const view = { job: wild, transitions: [], runs: [], broker: null };
    hub.on('GET /v1/jobs/j1/timeline', ({ response }) => json(response, 200, view));
    const { stdout } = await emp(['job', 'j1'], { tty: true, env: { NO_COLOR: '1' } });
    expect(stdout).toContain('a [2Jb c');
    expect(stdout).not.toContain('\u001b');
  });

  test.each([
    ['on a terminal', { tty: true }, [], true],
    ['with NO_COLOR', { tty: true, env: { NO_COLOR: '1' } }, [], false],
    ['with --no-color', { tty: true }, ['--no-color'], false],
    ['into a pipe', { tty: false }, [], false],
    ['on a dumb terminal', { tty: true, env: { TERM: 'dumb' } }, [], false],
  ])('%s: colours', async (_name, setup, args, coloured) => {
    hub.on('GET /v1/jobs', ({ response }) => json(response, 200, { items: [wild], nextCursor: null }));
    expect((await emp(['jobs', ...args], setup)).stdout.includes('\u001b[')).toBe(coloured);
  });

  test('jobs are listed over as many pages as the limit takes', async () => {
    let page = 0;
    hub.on('GET /v1/jobs', ({ response }) => {
      page += 1;
      json(response, 200, {
        items: Array.from({ length: 200 }, (_, n) => sampleJob({ id: `p${page}-${n}` })),
        nextCursor: `c${page}`,
      });
    });
    const { stdout, stderr } = await emp(['jobs', '--limit', '300']);
    expect(hub.requests.map(({ line }) => line)).toEqual([
      'GET /v1/jobs?limit=200',
      'GET /v1/jobs?limit=100&cursor=c1',
    ]);
    expect(stdout.split('\n')[0]).toMatch(/^ID +STATE +SERVICE/);
    expect(stderr).toContain('more than 300');
  });

  test('a machine that no hub has a link to is away, and each row says when it was heard', async () => {
    const row = {
      machineId: 'm1',
      state: 'joined',
      hubId: 'hub-b',
      machineClass: { pool: 'standard', services: [{ service: 'image', slots: 1 }] },
      running: [{ jobId: 'j', token: '1' }],
      residency: [],
      lastSeenAtMs: Date.now() - 3_600_000,
    };
    const items = [
      { ...row, linked: false, seenBy: 'records' },
      { ...row, linked: true, seenBy: 'records' },
      { ...row, linked: true, seenBy: 'link', cordoned: true },
    ];
    hub.on('GET /v1/machines', ({ response }) => json(response, 200, { items }));
    const lines = (await emp(['machines'])).stdout.trimEnd().split('\n').slice(1);
    expect(lines.map((line) => line.split(/ {2,}/).map((cell) => cell.trim()))).toEqual([
      ['m1', 'away', 'standard', 'image:1', 'all', '1', '0', expect.stringMatching(/^1 h 0 m ago$/)],
      ['m1', 'joined', 'standard', 'image:1', 'all', '1', '0', 'by hub-b'],
      [
        'm1',
        'joined,cordoned',
        'standard',
        'image:1',
        'all',
        '1',
        '0',
        expect.stringMatching(/^1 h 0 m ago$/),
      ],
    ]);
  });

  test('an empty list is a remark, not data; with --json it is an empty list', async () => {
    hub.on('GET /v1/jobs', ({ response }) => json(response, 200, { items: [], nextCursor: null }));
    expect(await emp(['jobs'])).toEqual({ code: 0, stdout: '', stderr: 'nothing to show\n' });
    expect(await emp(['jobs', '--json'])).toEqual({
      code: 0,
      stdout: '{"items":[],"nextCursor":null}\n',
      stderr: '',
    });
    expect((await emp(['jobs', '-q'])).stderr).toBe('');
  });

  test('several cancels go on after a refusal, and one refusal makes the exit code 1', async () => {
    hub.on('POST /v1/jobs/a/cancel', ({ response }) =>
      json(response, 202, { state: 'cancelled', job: sampleJob() }),
    );
    hub.on('POST /v1/jobs/b/cancel', ({ response }) => problem(response, 409, 'CONFLICT', 'b has succeeded'));
    hub.on('POST /v1/jobs/c/cancel', ({ response }) =>
      json(response, 202, { state: 'requested', job: sampleJob() }),
    );
    const { code, stdout, stderr } = await emp(['cancel', 'a', 'b', 'c']);
    expect(code).toBe(1);
    expect(stdout).toBe('a  cancelled\nb  EMP-CONFLICT  b has succeeded\nc  requested\n');
    expect(stderr).toContain('1 of 3 were refused');
  });

  test('events are one JSON object a line, page after page', async () => {
    const item = (seq: number) => ({
      seq,
      type: 'job.leased',
      jobId: 'j',
      machineId: 'm',
      data: {},
      atMs: 1,
    });
    const pages = [Array.from({ length: 1_000 }, (_, n) => item(n + 1)), [item(1_001)]];
    hub.on('GET /v1/events', ({ response }) =>
      json(response, 200, { items: pages.shift() ?? [], highestSeq: 1_001 }),
    );
    const { stdout } = await emp(['events', '--from', '0', '--type', 'job.leased', '--json']);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).seq)
        .at(-1),
    ).toBe(1_001);
    expect(hub.requests.map(({ line }) => line)).toEqual([
      'GET /v1/events?from=0&types=job.leased&limit=1000',
      'GET /v1/events?from=1000&types=job.leased&limit=1000',
    ]);
  });
});
