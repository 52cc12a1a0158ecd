import { once } from 'node:events';
import net from 'node:net';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { claim, connect, m1, reconcile, servers, submit } from './client.conformance.ts';
import type { RedisBroker } from './redis-broker.ts';
import { command, describeOnRedis } from './setup.conformance.ts';

/** A number in REDIS_URL keeps installations apart: nothing may ever run in another database. */

const urlOf = (server: RedisServer, path: string, user = '') =>
  `redis://${user}127.0.0.1:${server.port}${path}`;

const attempt = (broker: RedisBroker): Promise<unknown> => broker.identity().catch((error: unknown) => error);

async function keysIn(server: RedisServer, db: number): Promise<string[]> {
  const redis = new Redis({ path: server.path, db });
  try {
    return await redis.keys('*');
  } finally {
    redis.disconnect();
  }
}

async function killConnections(server: RedisServer): Promise<void> {
  await command(server, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
}

describeOnRedis(
  'a database that REDIS_URL names',
  (shared) => {
    for (const protocol of [2, 3] as const) {
      test(`holds all keys, also after the connection was made again (RESP${protocol})`, async () => {
        await command(shared(), 'FLUSHALL');
        const broker = await connect(shared(), { url: urlOf(shared(), '/2'), protocol });
        await reconcile(broker);
        await submit(broker, 'a');
        await killConnections(shared());
        await expect.poll(() => submit(broker, 'b').catch(() => null)).toMatchObject({ kind: 'ok' });
        expect((await keysIn(shared(), 2)).length).toBeGreaterThan(0);
        expect(await keysIn(shared(), 0)).toEqual([]);
      });

      test(`is refused where the server does not have it, and database 0 stays empty (RESP${protocol})`, async () => {
        await command(shared(), 'FLUSHALL');
        const opened = connect(shared(), { url: urlOf(shared(), '/99'), protocol });
        await expect(opened).rejects.toMatchObject({
          code: 'CONFIG_INVALID',
          message: expect.stringMatching(/REDIS_URL names database 99, .*EMP_REDIS_PREFIX.*out of range/),
        });
        expect(await keysIn(shared(), 0)).toEqual([]);
      });
    }

    test('is refused by a server in cluster mode, which has none but 0', async () => {
      const server = await RedisServer.start({ tcp: true, args: ['--cluster-enabled', 'yes'] });
      servers.push(server);
      await expect(connect(server, { url: urlOf(server, '/1') })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('REDIS_URL names database 1'),
      });
    });

    test('that is missing is a refusal of every call too where the server came after the start', async () => {
      const late = await RedisServer.start({ tcp: true, args: ['--databases', '4'] });
      servers.push(late);
      await late.kill();
      const said: string[] = [];
      const broker = await connect(late, {
        url: urlOf(late, '/9'),
        unreachable: (detail) => said.push(detail),
      });
      expect(said).toHaveLength(1);
      await late.run();
      await expect.poll(() => attempt(broker)).toMatchObject({ code: 'CONFIG_INVALID' });
      expect(await keysIn(late, 0)).toEqual([]);
    });

    test('that this user may no longer select is not left for database 0', async () => {
      const server = await RedisServer.start({ tcp: true });
      servers.push(server);
      await command(server, 'ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all');
      const broker = await connect(server, { url: urlOf(server, '/3', 'app:secret@') });
      await reconcile(broker);
      await broker.enrol(m1);
      await submit(broker, 'a');
      await command(server, 'ACL', 'SETUSER', 'app', '-select');
      await killConnections(server);
      await expect
        .poll(() => attempt(broker))
        .toMatchObject({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('+select'),
        });
      expect(await keysIn(server, 0)).toEqual([]);
      await command(server, 'ACL', 'SETUSER', 'app', '+select');
      await expect.poll(() => claim(broker, 1).catch(() => null)).toMatchObject({ kind: 'leased' });
      expect(await keysIn(server, 0)).toEqual([]);
    });

    test('that cannot be selected for the moment is tried again, and no call runs in database 0 meanwhile', async () => {
      const server = await RedisServer.start({ tcp: true });
      servers.push(server);
      const relay = await startRelay(server.port);
      try {
        const broker = await connect(server, { url: `redis://127.0.0.1:${relay.port}/1`, protocol: 2 });
        await reconcile(broker);
        relay.refuseSelect(true);
        await expect
          .poll(() => attempt(broker))
          .toMatchObject({
            code: 'BROKER_UNAVAILABLE',
            retryable: true,
            message: expect.stringContaining('BUSY'),
          });
        expect(await keysIn(server, 0)).toEqual([]);
        relay.refuseSelect(false);
        await expect.poll(() => attempt(broker)).toMatchObject({ open: true });
        expect(await keysIn(server, 0)).toEqual([]);
      } finally {
        relay.close();
      }
    });
  },
  { tcp: true },
);

/**
 * Hands bytes on. While it refuses SELECT it answers it with BUSY in the server's place, as a server does
 * that runs a script at that moment, and hands everything else on; RESP2, where commands come one by one
 * in whole writes of the client. Connections are cut at each change.
 */
async function startRelay(target: number) {
  const sockets = new Set<net.Socket>();
  let isRefusing = false;
  const select = /\*2\r\n\$6\r\nselect\r\n\$1\r\n\d\r\n/i;
  const relay = net.createServer((client) => {
    const upstream = net.connect(target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
    }
    upstream.on('data', (chunk) => void client.write(chunk));
    client.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      // It is the first command of a connection: the answer in its place keeps the order.
      if (isRefusing && select.test(text)) client.write('-BUSY Redis is busy running a script.\r\n');
      upstream.write(isRefusing ? text.replace(select, '') : text, 'latin1');
    });
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    port: (relay.address() as net.AddressInfo).port,
    refuseSelect(refuse: boolean): void {
      isRefusing = refuse;
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    close(): void {
      for (const socket of sockets) socket.destroy();
      relay.close();
    },
  };
}
