import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { entryOf } from '#protocol/broker-fixture.conformance.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { claim, connect, m1, ready, reconcile, servers, submit } from './client.conformance.ts';
import { indexProblems, unservedKeys } from './index-audit.conformance.ts';
import type { RedisBroker } from './redis-broker.ts';
import { command, describeOnRedis } from './setup.conformance.ts';

describeOnRedis('a connection that was made again', (shared) => {
  test('is checked again: a policy that drops keys refuses calls until it is set right', async () => {
    const broker = await ready(shared());
    await command(shared(), 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    expect(await broker.identity()).toMatchObject({ open: true });
    await command(shared(), 'CLIENT', 'KILL', 'TYPE', 'normal');
    const outcome = () =>
      broker.identity().then(
        () => 'served',
        (error: { code: string }) => error.code,
      );
    await expect.poll(outcome, { timeout: 20_000 }).toBe('CONFIG_INVALID');
    await command(shared(), 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(await outcome()).toBe('served');
  });
});

describeOnRedis('text of the steps', (shared) => {
  test.each(['function', 'evalsha'] as const)(
    'T16: by %s comes back after a flush of it between two calls',
    async (loader) => {
      const broker = await ready(shared(), { loader });
      await submit(broker, 'a', 'b');
      expect(await claim(broker, 1)).toMatchObject({ kind: 'leased' });
      await command(shared(), 'FUNCTION', 'FLUSH');
      await command(shared(), 'SCRIPT', 'FLUSH');
      const answers = await Promise.all([claim(broker, 2), broker.stats(), broker.inspect('a')]);
      expect(answers).toMatchObject([{ kind: 'leased' }, { open: true }, { state: 'leased' }]);
    },
  );

  test('T17: of a newer revision is never replaced, of an older one it is', async () => {
    const library = (revision: number) =>
      `#!lua name=emp1\nredis.register_function('emp1_revision', function() return ${revision} end)\n` +
      `redis.register_function('emp1_identity', function() return {'1', 'ok', 'theirs', 1} end)`;
    await command(shared(), 'FUNCTION', 'LOAD', 'REPLACE', library(1_000_000));
    expect(await (await connect(shared())).identity()).toEqual({ identity: 'theirs', open: true });
    await command(shared(), 'FUNCTION', 'LOAD', 'REPLACE', library(0));
    expect((await (await connect(shared())).identity()).identity).not.toBe('theirs');
  });

  test('T17: two majors are loaded beside each other', async () => {
    const other = "#!lua name=emp2\nredis.register_function('emp2_claim', function() return 1 end)";
    await command(shared(), 'FUNCTION', 'LOAD', other);
    const broker = await ready(shared());
    expect(await broker.identity()).toMatchObject({ open: true });
    expect(await command(shared(), 'FCALL', 'emp2_claim', '0')).toBe(1);
    await command(shared(), 'FUNCTION', 'DELETE', 'emp2');
  });

  test('of a user who may not load functions reaches the server as scripts', async () => {
    await command(shared(), 'ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-function');
    const broker = await connect(shared(), {
      url: { path: shared().path, username: 'app', password: 'secret' },
    });
    expect(await broker.identity()).toHaveProperty('identity');
    const strict = {
      loader: 'function' as const,
      url: { path: shared().path, username: 'app', password: 'secret' },
    };
    await command(shared(), 'FUNCTION', 'FLUSH');
    await expect(connect(shared(), strict)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('keys of another schema are left alone', async () => {
    const broker = await ready(shared());
    await command(shared(), 'HSET', '{emp:0}:meta', 'schema', '3');
    await expect(broker.identity()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('schema 3'),
    });
  });
});

describeOnRedis('identity', (shared) => {
  test('of a restarted server is another, and the Broker is closed until a full reconcile', async () => {
    const broker = await ready(shared());
    await submit(broker, 'a');
    const before = await broker.identity();
    await shared().restart();
    const after = await broker.identity();
    expect(after.identity).not.toBe(before.identity);
    expect(after.open).toBe(false);
    expect(await claim(broker, 1)).toEqual({ kind: 'closed' });
    expect(await broker.submit({ identity: before.identity, entries: [entryOf('b')] })).toEqual({
      kind: 'identityChanged',
      identity: after.identity,
    });
    await reconcile(broker);
    expect(await broker.identity()).toEqual({ identity: after.identity, open: true });
  });

  test('an id that has no entry keeps no reconcile from its end: it is told once and forgotten', async () => {
    const broker = await ready(shared());
    await submit(broker, 'a');
    await command(shared(), 'ZADD', '{emp:0}:ids', '0', 'nobody');
    const page = () => broker.list({ after: null, limit: 10 });
    expect((await page()).map(({ jobId }) => jobId)).toEqual(['a', 'nobody']);
    expect((await page()).map(({ jobId }) => jobId)).toEqual(['a']);
  });

  test('what a machine held by half a step only is not told when it leaves', async () => {
    const broker = await ready(shared());
    await command(shared(), 'ZADD', '{emp:0}:held:m1/1', '1', 'nobody');
    expect(await broker.leave(m1)).toEqual({ leases: [] });
  });

  test('that is being put in order tells a machine that leaves what it holds', async () => {
    const server = await RedisServer.start();
    servers.push(server);
    const broker = await ready(server);
    await submit(broker, 'a');
    expect(await claim(broker, 1)).toMatchObject({ kind: 'leased' });
    await server.restart();
    await broker.identity();
    await command(server, 'FCALL', 'emp1_reconcile_start', '1', '{emp:0}', '', '', '30000', 'begun');
    expect((await broker.leave(m1)).leases).toMatchObject([{ jobId: 'a' }]);
    await reconcile(broker);
  });

  test('that is new leaves no lines of earlier generations behind, whose work is in quarantine', async () => {
    const server = await RedisServer.start();
    servers.push(server);
    const broker = await ready(server);
    const entries = ['a', 'b', 'c'].map((id) => entryOf(id, { affinity: `model-${id}` }));
    const late = entryOf('late', { notBeforeMs: Date.UTC(2100, 0) });
    const { identity } = await broker.identity();
    await broker.submit({ identity, entries: [...entries, late] });
    await server.restart();
    await reconcile(broker);
    const redis = new Redis({ path: server.path });
    try {
      expect(await unservedKeys(redis)).toEqual([]);
      expect(await indexProblems(redis)).toEqual([]);
    } finally {
      redis.disconnect();
    }
    expect(await broker.stats()).toMatchObject({ waiting: 3, delayed: 1 });
    expect(await claim(broker, 1)).toEqual({ kind: 'empty' });
  });

  test('that is new is not opened by a hub of an earlier revision, which would leave the entries unserved', async () => {
    const server = await RedisServer.start();
    servers.push(server);
    const broker = await ready(server);
    await submit(broker, 'a');
    await server.restart();
    const { identity } = await broker.identity();
    await command(server, 'FCALL', 'emp1_reconcile_start', '1', '{emp:0}', '', '', '30000', 'old');
    expect(await broker.reconcileFinish({ identity, nonce: 'old' })).toEqual({ kind: 'changed' });
    await reconcile(broker);
  });

  test('of a flushed server is another, though no connection broke', async () => {
    const broker = await ready(shared());
    const before = await broker.identity();
    await command(shared(), 'FLUSHALL');
    const after = await broker.identity();
    expect(after).toMatchObject({ open: false });
    expect(after.identity).not.toBe(before.identity);
  });

  test('T14: of a promoted replica is another: the data is there, the Broker closed', async () => {
    const primary = await RedisServer.start({ tcp: true });
    const replica = await RedisServer.start({ tcp: true });
    servers.push(primary, replica);
    const broker = await ready(primary);
    await submit(broker, 'a', 'b');
    const before = await broker.identity();
    await command(replica, 'REPLICAOF', '127.0.0.1', String(primary.port));
    const watch = new Redis({ path: replica.path });
    try {
      await expect
        .poll(() => watch.info('replication'), { timeout: 20_000 })
        .toContain('master_link_status:up');
      expect(Number(await command(primary, 'WAIT', '1', '10000'))).toBe(1);
      await watch.replicaof('NO', 'ONE');
    } finally {
      watch.disconnect();
    }
    const promoted = await connect(replica);
    const after = await promoted.identity();
    expect(after.open).toBe(false);
    expect(after.identity).not.toBe(before.identity);
    expect((await promoted.list({ after: null, limit: 10 })).map((entry) => entry.jobId)).toEqual(['a', 'b']);
    // A client that a proxy moved over without a word asks the server that runs the step, not its memory.
    expect(await claim(promoted, 1)).toEqual({ kind: 'closed' });
  });

  test('a former primary refuses writes, and the client connects again', async () => {
    const primary = await RedisServer.start({ tcp: true });
    const other = await RedisServer.start({ tcp: true });
    servers.push(primary, other);
    const broker = await ready(primary);
    await command(primary, 'REPLICAOF', '127.0.0.1', String(other.port));
    await expect(broker.stats()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE', retryable: true });
    await command(primary, 'REPLICAOF', 'NO', 'ONE');
    await expect.poll(() => broker.identity().catch(() => null), { timeout: 20_000 }).not.toBeNull();
  });
});

describeOnRedis('a server that does not answer', (shared) => {
  test('is given up at the deadline while it is paused, and served again after', async () => {
    const broker = await ready(shared(), { deadlineMs: 200 });
    await command(shared(), 'CLIENT', 'PAUSE', '1500', 'ALL');
    await expect(broker.stats()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE', retryable: true });
    await expect.poll(() => broker.stats().catch(() => null), { timeout: 20_000 }).not.toBeNull();
  });

  test('because it runs another script is told as unavailable, and serves again when that is killed', async () => {
    const broker = await ready(shared(), { deadlineMs: 2_000 });
    await command(shared(), 'CONFIG', 'SET', 'busy-reply-threshold', '50');
    const busy = new Redis({ path: shared().path });
    // A connection that is made while the server is busy would not become ready.
    const control = new Redis({ path: shared().path });
    await control.ping();
    const ended = busy.call('EVAL', 'while true do end', '0').catch((error: unknown) => String(error));
    await expect
      .poll(() => broker.stats().catch((error: { code: string; message: string }) => error), {
        timeout: 20_000,
      })
      .toMatchObject({ code: 'BROKER_UNAVAILABLE', message: expect.stringContaining('BUSY') });
    await control.call('SCRIPT', 'KILL');
    expect(await ended).toContain('killed');
    busy.disconnect();
    control.disconnect();
    expect(await broker.stats()).toMatchObject({ open: true });
  });

  test('T15: because it is gone refuses calls at once, and the client finds it when it is back', async () => {
    const broker = await ready(shared());
    await shared().kill();
    await expect(broker.stats()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE', retryable: true });
    await shared().run();
    await expect.poll(() => broker.identity().catch(() => null), { timeout: 20_000 }).not.toBeNull();
  });

  test('from the start cannot be opened, and says so', async () => {
    const url = { path: `${shared().path}.nobody` };
    await expect(connect(shared(), { url, deadlineMs: 500 })).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
    });
  });

  test('refuses every call after close', async () => {
    const broker = await ready(shared());
    await broker.close();
    await expect(broker.stats()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' });
  });

  test('wants a password that the client has not: a setting to correct', async () => {
    const server = await RedisServer.start({ args: ['--requirepass', 'secret'] });
    servers.push(server);
    await expect(connect(server)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(connect(server, { url: { path: server.path, password: 'wrong' } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect(await connect(server, { url: { path: server.path, password: 'secret' } })).toBeDefined();
  });
});

describeOnRedis('many clients', (shared) => {
  test('T2: a thousand claims at once of a hundred jobs give a hundred winners', async () => {
    const broker = await ready(shared());
    const clients = [broker, await connect(shared()), await connect(shared(), { protocol: 2 })];
    const jobs = Array.from({ length: 100 }, (_, at) => `job_${at}`);
    await submit(broker, ...jobs);
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => claim(clients[at % 3] as RedisBroker, at + 1)),
    );
    const won = answers.flatMap((answer) => (answer.kind === 'leased' ? [answer.lease.jobId] : []));
    expect(won.sort()).toEqual(jobs.sort());
  });

  test('of two prefixes see nothing of each other', async () => {
    const broker = await ready(shared());
    const other = await connect(shared(), { prefix: 'other' });
    await submit(broker, 'a');
    await reconcile(other);
    expect(await other.inspect('a')).toBeNull();
    expect(await command(shared(), 'EXISTS', '{other:0}:meta')).toBe(1);
  });
});

describeOnRedis('a server that has the queue of other records', (shared) => {
  test('is refused to their hubs, at the opening and after a flush, and served to its own', async () => {
    const ours = await connect(shared(), { owner: 'ours' });
    await reconcile(ours);
    await submit(ours, 'a');
    const refusal = {
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/REDIS_URL: .* of other records .* EMP_REDIS_PREFIX/),
    };
    await expect(connect(shared(), { owner: 'theirs' })).rejects.toMatchObject(refusal);
    expect(await ours.inspect('a')).toMatchObject({ state: 'waiting' });
    const second = await connect(shared(), { owner: 'ours' });
    expect(await second.identity()).toMatchObject({ open: true });
    // The name goes with all else, and comes back with the reconcile.
    await command(shared(), 'FLUSHALL');
    await reconcile(second);
    await expect(connect(shared(), { owner: 'theirs' })).rejects.toMatchObject(refusal);
  });

  test('under another prefix is another queue', async () => {
    const ours = await connect(shared(), { owner: 'ours' });
    await reconcile(ours);
    const theirs = await connect(shared(), { owner: 'theirs', prefix: 'theirs' });
    expect(await theirs.identity()).toMatchObject({ open: false });
  });

  test('that was flushed and taken by others refuses its former hubs', async () => {
    const ours = await connect(shared(), { owner: 'ours' });
    await reconcile(ours);
    await command(shared(), 'FLUSHALL');
    await connect(shared(), { owner: 'theirs' });
    await expect(ours.identity()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(ours.reconcileStart({ nonce: 'n' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
