import { once } from 'node:events';
import net from 'node:net';
import { expect, test } from 'vitest';
import { migrate, migrationsFolder } from './migrate.ts';
import { postgresTarget } from './postgres-url.ts';

/** AuthenticationOk and ReadyForQuery of the frontend/backend protocol. */
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

test('a server that takes the login and then says nothing counts as one that does not answer', async () => {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', () => void socket.write(welcome));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const url = `postgresql://emp@127.0.0.1:${port}/emp`;
  const limits = { connectLimitMs: 5_000, queryLimitMs: 50 };
  const opening = migrate({ target: postgresTarget(url), folder: migrationsFolder, nowMs: 1, ...limits });
  await expect(opening).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE', retryable: true });
  for (const socket of sockets) socket.destroy();
  server.close();
});
