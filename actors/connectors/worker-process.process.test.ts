import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import type { RunProgress } from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import { systemClock } from '#runtime/env.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { WorkerPool } from './worker-pool.ts';
import { WorkerProcess } from './worker-process.ts';

const served = `
  import { serveWorker } from ${JSON.stringify(new URL('./worker-serve.ts', import.meta.url).href)};
  import { EmpError } from '#protocol/errors.ts';
  serveWorker({
    ping: async () => null,
    echo: async (params) => ({ ...params, pid: process.pid }),
    env: async () => ({ ...process.env }),
    refuse: async () => { throw new EmpError('PAYLOAD_INVALID', { detail: 'no', errors: [{ pointer: '/a', detail: 'no' }] }) },
    trip: async () => { throw new TypeError('x is not a function') },
    inner: async () => { throw new EmpError('RECORDS_UNAVAILABLE') },
    die: async () => { console.error('the secret of the crash'); process.exit(7) },
    hang: async (params, report) => { await report({ fraction: 0.1 }); for (;;); },
    steps: async (params, report) => { for (const fraction of [0.2, 0.4]) await report({ fraction, message: 'step' }); return 'end' },
    large: async (params, report) => report({ fraction: 0, preview: { mime: 'image/jpeg', bytes: new Uint8Array(65537) } }),
  });`;

const opened: { kill(): Promise<void> }[] = [];
const dirs: string[] = [];
afterEach(async () => {
  for (const worker of opened.splice(0)) await worker.kill();
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true });
});

/** A script of its own for each case: `#protocol/…` needs a place inside this package, so it is made absolute. */
async function script(source: string): Promise<URL> {
  const dir = await mkdtemp(join(tmpdir(), 'emp-worker-'));
  dirs.push(dir);
  const path = join(dir, 'worker.mjs');
  const errors = JSON.stringify(new URL('../../protocol/errors.ts', import.meta.url).href);
  await writeFile(path, source.replaceAll("'#protocol/errors.ts'", errors));
  return pathToFileURL(path);
}

async function start(source = served, options: { clock?: VirtualClock; signal?: AbortSignal } = {}) {
  const { clock = systemClock, signal } = options;
  const url = await script(source);
  const worker = await WorkerProcess.start(
    { script: url, env: { GIVEN: 'yes' }, clock, startLimitMs: 20_000 },
    signal,
  );
  opened.push(worker);
  return worker;
}

describe('an order', () => {
  test('is answered, one after the other, with progress on the way', async () => {
    const worker = await start();
    expect(await worker.request('echo', { a: [1, 'ü'] })).toEqual({ a: [1, 'ü'], pid: worker.pid });
    const reports: RunProgress[] = [];
    const answer = await worker.request('steps', {}, { onProgress: (report) => reports.push(report) });
    expect(answer).toBe('end');
    expect(reports).toEqual([
      { fraction: 0.2, message: 'step' },
      { fraction: 0.4, message: 'step' },
    ]);
  });

  test('is refused with the code and the fields that the worker gave', async () => {
    const worker = await start();
    await expect(worker.request('refuse', {})).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      retryable: false,
      errors: [{ pointer: '/a', detail: 'no' }],
    });
    expect(await worker.request('ping', {})).toBeNull();
  });

  test.each(['trip', 'inner', 'no-such-method'])(
    'that fails in another way (%s) may be tried again',
    async (method) => {
      const worker = await start();
      await expect(worker.request(method, {})).rejects.toMatchObject({
        code: 'CONNECTOR_FAILED',
        retryable: true,
      });
    },
  );

  test('fails at once when the process dies, and what it wrote stays out of the message', async () => {
    const worker = await start();
    const error = await worker.request('die', {}).catch((reason: unknown) => reason as EmpError);
    expect(error).toMatchObject({ code: 'CONNECTOR_FAILED', message: expect.stringContaining('code 7') });
    expect((error as EmpError).message).not.toContain('secret');
    expect(((error as EmpError).cause as Error).message).toContain('the secret of the crash');
    await expect(worker.request('ping', {})).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
  });

  test('ends with the reason of its signal, even where the worker computes without a pause', async () => {
    const worker = await start();
    const controller = new AbortController();
    const reason = new EmpError('JOB_CANCELLED');
    const onProgress = () => controller.abort(reason);
    await expect(worker.request('hang', {}, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect(worker.alive).toBe(false);
    expect(() => process.kill(worker.pid!, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
  });
});

describe('a worker', () => {
  test('gets the few variables it needs and none of the secrets of the machine', async () => {
    process.env['MACHINE_TOKEN'] = 'secret';
    try {
      const worker = await start();
      const env = await worker.request('env', {});
      expect(env).toMatchObject({ GIVEN: 'yes' });
      expect(env).not.toHaveProperty('MACHINE_TOKEN');
    } finally {
      delete process.env['MACHINE_TOKEN'];
    }
  });

  test.each([
    ['a message of unknown form', "process.on('message', () => process.send({ kind: 'gift' }));"],
    ['no object at all', "process.on('message', () => process.send('done'));"],
    [
      'progress beyond 1',
      "process.on('message', ({ id }) => process.send({ kind: 'progress', id, fraction: 1.5 }));",
    ],
    [
      'an answer to another order',
      "process.on('message', ({ id }) => process.send({ kind: 'done', id: id + 1, result: 1 }));",
    ],
  ])('that sends %s is killed and the order may be tried again', async (_what, source) => {
    const worker = await start(`${source} process.send({ kind: 'ready' });`);
    await expect(worker.request('ping', {})).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      retryable: true,
    });
    expect(worker.alive).toBe(false);
  });

  test('that sends a preview above 64 KiB is killed', async () => {
    const worker = await start();
    await expect(worker.request('large', {})).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    expect(worker.alive).toBe(false);
  });

  test('that ends before it is ready fails the start', async () => {
    await expect(start('process.exit(3)')).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      message: expect.stringContaining('code 3'),
    });
  });

  test('that is not ready in time is killed', async () => {
    const clock = new VirtualClock();
    const failed = expect(start('setInterval(() => {}, 1000)', { clock })).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      message: expect.stringContaining('20000 ms'),
    });
    while (clock.pending === 0) await clock.settle();
    await clock.advanceBy(20_000);
    await failed;
  });

  test('leaves with its parent', async () => {
    const worker = await start();
    const parent = await start(`
      import { fork } from 'node:child_process';
      const child = fork(${JSON.stringify((await script(served)).pathname)}, [], { stdio: 'ignore', serialization: 'advanced' });
      child.once('message', () => process.send({ kind: 'ready' }));
      process.on('message', ({ id }) => process.send({ kind: 'done', id, result: child.pid }));`);
    const pid = (await parent.request('pid', {})) as number;
    await parent.kill();
    // Nobody is told when a grandchild ends: ask until it is gone; the test's limit bounds it.
    for (let alive = true; alive; ) {
      await worker.request('ping', {});
      alive = isAlive(pid);
    }
    expect(isAlive(pid)).toBe(false);
  });
});

describe('a pool', () => {
  async function pool({ limit = 1, clock = new VirtualClock() } = {}) {
    const url = await script(served);
    const subject = new WorkerPool({
      start: (signal) => WorkerProcess.start({ script: url, env: {}, clock, startLimitMs: 20_000 }, signal),
      clock,
      limit,
      idleLimitMs: 60_000,
    });
    opened.push({ kill: () => subject.close() });
    const never = new AbortController().signal;
    const pidFor = (key: string, signal = never) =>
      subject.use(key, signal, async (worker) => {
        await worker.request('ping', {});
        return worker.pid;
      });
    return { pool: subject, clock, never, pidFor };
  }

  test('uses a worker again for the same key and replaces it for another', async () => {
    const { pool: subject, pidFor } = await pool();
    const first = await pidFor('a');
    expect(await pidFor('a')).toBe(first);
    const second = await pidFor('b');
    expect(second).not.toBe(first);
    expect(subject.pids).toEqual([second]);
  });

  test('keeps one worker for each key up to its limit and replaces the one unused longest', async () => {
    const { pidFor } = await pool({ limit: 2 });
    const a = await pidFor('a');
    const b = await pidFor('b');
    expect(await pidFor('a')).toBe(a);
    await pidFor('c');
    expect(await pidFor('a')).toBe(a);
    expect(await pidFor('b')).not.toBe(b);
  });

  test('gives a worker that was started ahead to the first key', async () => {
    const { pool: subject, never, pidFor } = await pool();
    await subject.warm(never);
    const [warm] = subject.pids;
    expect(await pidFor('a')).toBe(warm);
  });

  test('serves waiting uses in their order, never more at once than its limit', async () => {
    const { pool: subject, never } = await pool();
    const order: string[] = [];
    let busy = 0;
    const use = (key: string) =>
      subject.use(key, never, async (worker) => {
        expect(++busy).toBe(1);
        await worker.request('ping', {});
        order.push(key);
        busy--;
      });
    await Promise.all(['a', 'b', 'a', 'c'].map(use));
    expect(order).toEqual(['a', 'b', 'a', 'c']);
  });

  test('lets a waiting use go when its signal aborts, and the others keep their turn', async () => {
    const { pool: subject, never, pidFor } = await pool();
    const gate = Promise.withResolvers<void>();
    const holder = subject.use('a', never, () => gate.promise);
    const controller = new AbortController();
    const waiting = pidFor('a', controller.signal);
    const next = pidFor('a');
    const reason = new EmpError('JOB_CANCELLED');
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    gate.resolve();
    await holder;
    expect(await next).toBeTypeOf('number');
  });

  test('ends a worker that was idle for its limit, probes or not, and starts another when needed', async () => {
    const { pool: subject, clock, never, pidFor } = await pool();
    const first = await pidFor('a');
    await clock.advanceBy(59_999);
    await subject.probe(never);
    expect(subject.pids).toEqual([first]);
    await clock.advanceBy(1);
    expect(subject.pids).toEqual([]);
    expect(await pidFor('a')).not.toBe(first);
  });

  test('evicts an idle worker at once and a busy one after its work', async () => {
    const { pool: subject, never, pidFor } = await pool({ limit: 2 });
    await pidFor('a');
    await subject.evict('a');
    expect(subject.pids).toEqual([]);
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const used = subject.use('b', never, () => {
      begun.resolve();
      return gate.promise;
    });
    await begun.promise;
    const evicted = subject.evict('b');
    expect(subject.pids).toHaveLength(1);
    gate.resolve();
    await used;
    await evicted;
    expect(subject.pids).toEqual([]);
  });

  test('notices a worker that died idle and starts another', async () => {
    const { pidFor, pool: subject } = await pool();
    const first = await pidFor('a');
    process.kill(first!, 'SIGKILL');
    while (subject.pids.length > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    expect(await pidFor('a')).not.toBe(first);
  });

  test('refuses those who wait when it closes, and whoever comes later', async () => {
    const { pool: subject, never, pidFor } = await pool();
    const holder = subject.use('a', never, (worker) => worker.request('hang', {}));
    const waiting = pidFor('a');
    const outcomes = Promise.allSettled([holder, waiting]);
    await subject.close();
    expect(await outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'CONNECTOR_FAILED' } },
      { status: 'rejected', reason: { code: 'CONNECTOR_FAILED' } },
    ]);
    expect(subject.pids).toEqual([]);
    await expect(pidFor('a')).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
  });

  test('frees the place of a start that failed', async () => {
    let starts = 0;
    const url = await script(served);
    const clock = new VirtualClock();
    const subject = new WorkerPool({
      start: async (signal) => {
        if (starts++ === 0) throw new EmpError('CONNECTOR_FAILED', { detail: 'the first start fails' });
        return await WorkerProcess.start({ script: url, env: {}, clock, startLimitMs: 20_000 }, signal);
      },
      clock,
      limit: 1,
      idleLimitMs: 1_000,
    });
    opened.push({ kill: () => subject.close() });
    const never = new AbortController().signal;
    const use = () => subject.use('a', never, (worker) => worker.request('ping', {}));
    expect(await Promise.allSettled([use(), use()])).toMatchObject([
      { status: 'rejected', reason: { message: 'the first start fails' } },
      { status: 'fulfilled' },
    ]);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
