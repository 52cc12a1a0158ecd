import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { ContractHub } from './contract-hub.ts';
import { runMain } from './run-main.fixture.ts';

test.each([
  ['closes each connection without a word', (socket: Socket) => void socket.destroy()],
  ['answers in another language', (socket: Socket) => void socket.end("-ERR unknown command 'GET'\r\n")],
])('a server that %s is no hub and ends with 4', async (_what, serve) => {
  const server = createServer((socket) => serve(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code, stderr } = await runMain(['--hub', url, 'jobs']);
  server.close();
  expect(stderr).toContain(`what answers at ${url} is not an EMP hub: it does not speak HTTP`);
  expect(stderr).toContain('code: EMP-NOT-A-HUB');
  expect(code).toBe(4);
});

test('a hub that dies with the question is unreachable, not another server', async () => {
  const hub = await ContractHub.start();
  hub.on('GET /v1/status', () => {
    void hub.stop();
  });
  const { code, stderr } = await runMain(['--hub', hub.url, 'status']);
  expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining('EMP-HUB-UNREACHABLE') });
});
