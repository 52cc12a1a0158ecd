import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, type TestContext, test } from 'vitest';
import { brokerSettings } from '#protocol/broker-fixture.conformance.ts';
import { systemClock } from '#runtime/env.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { repositoryRoot } from '#runtime/toolchain/repository.ts';
import {
  type Certificate,
  type CertificateOptions,
  testCertificate,
} from '#runtime/toolchain/test-certificates.ts';
import { claim, connect, m1, reconcile, servers, submit } from './client.conformance.ts';
import { openRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';
import { describeOnRedis } from './setup.conformance.ts';

const folder = mkdtempSync(join(tmpdir(), 'emp-tls-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const authority = testCertificate({ name: 'authority' });
const stranger = testCertificate({ name: 'stranger' });

function fileOf(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const ca = fileOf('ca.pem', authority.cert);
const otherCa = fileOf('other-ca.pem', stranger.cert);

interface SecureOptions extends Partial<CertificateOptions> {
  clients?: 'need a certificate' | 'need none';
  args?: readonly string[];
}

/** A server for 127.0.0.1 whose certificate is of `authority`; the test is skipped where Redis was built without TLS. */
async function secureServer(context: TestContext, options: SecureOptions = {}): Promise<RedisServer> {
  const { clients = 'need none', args = [], ...over } = options;
  const own = testCertificate({ name: 'redis', hosts: ['127.0.0.1'], ...over }, authority);
  const tls = { ...own, ca: authority.cert, clients };
  try {
    const server = await RedisServer.start({ tls, args: ['--requirepass', 'secret', ...args] });
    servers.push(server);
    return server;
  } catch (error) {
    if (!/tls-port/.test(String(error))) throw error;
    return context.skip('this Redis was built without TLS');
  }
}

const urlOf = (port: number, query = '') => `rediss://default:secret@127.0.0.1:${port}/${query}`;

/** Opens a Broker by that URL, and runs a job up to its lease. */
async function works(server: RedisServer, url: string, over: Partial<RedisBrokerOptions> = {}) {
  const broker = await connect(server, { url, ...over });
  await reconcile(broker);
  await broker.enrol(m1);
  await submit(broker, 'a');
  expect(await claim(broker, 1)).toMatchObject({ kind: 'leased' });
}

async function refusal(server: RedisServer, url: string): Promise<{ code: string; message: string }> {
  const error = await connect(server, { url }).then(
    () => ({ code: 'none', message: 'it was opened' }),
    (caught: { code: string; message: string }) => caught,
  );
  expect(error.message).not.toContain('secret');
  return error;
}

describeOnRedis('a server with TLS', (plain) => {
  test('is served through rediss:// with its CA in the URL', async (context) => {
    const server = await secureServer(context);
    await works(server, urlOf(server.tlsPort, `?sslrootcert=${ca}`));
  });

  test('is served by RESP2 as well', async (context) => {
    const server = await secureServer(context);
    await works(server, urlOf(server.tlsPort, `?sslrootcert=${ca}`), { protocol: 2 });
  });

  const name = 'is trusted by a process whose NODE_EXTRA_CA_CERTS has the CA, and by no other';
  test(name, { timeout: 120_000 }, async (context) => {
    const server = await secureServer(context);
    const text = `
      import { openRedisBroker } from '#protocol/redis/redis-broker.ts';
      import { brokerSettings } from '#protocol/broker-fixture.conformance.ts';
      import { systemClock } from '#runtime/env.ts';
      const url = '${urlOf(server.tlsPort)}';
      const opened = openRedisBroker({ url, settings: brokerSettings, clock: systemClock });
      console.log(await opened.then((broker) => broker.close(), (error) => error.code) ?? 'opened');`;
    const run = (file: string) =>
      spawnSync(process.execPath, ['--input-type=module', '--eval', text], {
        cwd: repositoryRoot,
        encoding: 'utf8',
        env: { ...process.env, NODE_EXTRA_CA_CERTS: file },
      });
    const [trusting, other] = [run(ca), run(otherCa)];
    expect(trusting.stdout, trusting.stderr).toBe('opened\n');
    expect(other.stdout, other.stderr).toBe('CONFIG_INVALID\n');
  });

  test('of an authority that is not trusted is refused, and told how to trust it', async (context) => {
    const server = await secureServer(context);
    for (const query of ['', `?sslrootcert=${otherCa}`]) {
      expect(await refusal(server, urlOf(server.tlsPort, query))).toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('sslrootcert=/path/ca.pem'),
      });
    }
  });

  test('that has a certificate for another host is refused', async (context) => {
    const server = await secureServer(context, { hosts: ['redis.internal'] });
    expect(await refusal(server, urlOf(server.tlsPort, `?sslrootcert=${ca}`))).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('for another host'),
    });
  });

  test('that has a certificate of the past is refused until it has a new one', async (context) => {
    const server = await secureServer(context, { isExpired: true });
    expect(await refusal(server, urlOf(server.tlsPort, `?sslrootcert=${ca}`))).toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('expired'),
    });
  });

  test('that asks for a client certificate serves only those who have one of its CA', async (context) => {
    // In TLS 1.3 the refusal comes after the handshake, and the end of the connection may overtake it.
    const args = ['--tls-protocols', 'TLSv1.2'];
    const server = await secureServer(context, { clients: 'need a certificate', args });
    const client = (name: string, issuer: Certificate) => {
      const made = testCertificate({ name, hosts: [] }, issuer);
      return `&sslcert=${fileOf(`${name}.pem`, made.cert)}&sslkey=${fileOf(`${name}.key`, made.key)}`;
    };
    await works(server, urlOf(server.tlsPort, `?sslrootcert=${ca}${client('hub', authority)}`));
    for (const query of ['', client('intruder', stranger)]) {
      expect(await refusal(server, urlOf(server.tlsPort, `?sslrootcert=${ca}${query}`))).toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('sslcert and sslkey'),
      });
    }
  });

  test('serves nobody who comes without TLS, and tells him what may be wrong', async (context) => {
    const server = await secureServer(context);
    const url = `redis://default:secret@127.0.0.1:${server.tlsPort}`;
    expect(await refusal(server, url)).toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      message: expect.stringContaining('write rediss:// instead of redis://'),
    });
  });

  test('that says so by an alert is told for certain', async () => {
    // Fatal alert `unexpected message`, before any handshake.
    const alerting = await answeringAlways(Buffer.from([21, 3, 3, 0, 2, 2, 10]));
    expect(await refusal(plain(), `redis://default:secret@127.0.0.1:${alerting.port}`)).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('it speaks TLS on this port: write rediss://'),
    });
    alerting.close();
  });

  test('is told from one without, which is not used unencrypted instead', async () => {
    const answering = await answeringAlways('-ERR\r\n');
    expect(await refusal(plain(), urlOf(answering.port))).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('speaks no TLS on this port'),
    });
    answering.close();
    // Redis itself waits for the end of what it takes for a command.
    const server = await RedisServer.start({ tcp: true });
    servers.push(server);
    await expect(connect(server, { url: urlOf(server.port), deadlineMs: 500 })).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      message: expect.stringContaining('write redis:// instead of rediss://'),
    });
  });

  test('that was served before is not doubted when its connections break', async () => {
    const server = await RedisServer.start({ tcp: true });
    servers.push(server);
    const relay = await relayTo(server.port);
    const broker = await connect(server, { url: `redis://127.0.0.1:${relay.port}` });
    const attempt = () => broker.identity().catch((error: unknown) => error);
    expect(await attempt()).toMatchObject({ open: false });
    relay.resetAll();
    const first = await attempt();
    expect(first).toMatchObject({ code: 'BROKER_UNAVAILABLE' });
    expect(String(first)).not.toContain('rediss://');
    relay.close();
  });
});

test.each(['at once', 'after the first command'])(
  'a server that closes connections %s may want TLS: the refusal says so',
  async (when) => {
    const closing = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      if (when === 'at once') socket.resume().end();
      else socket.once('data', () => socket.end());
    });
    closing.listen(0, '127.0.0.1');
    await once(closing, 'listening');
    const { port } = closing.address() as AddressInfo;
    const clock = systemClock;
    const opened = openRedisBroker({ url: `redis://127.0.0.1:${port}`, settings: brokerSettings, clock });
    await expect(opened).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      message: expect.stringContaining('write rediss:// instead of redis://'),
    });
    closing.close();
  },
);

/** A server that says this to whoever connects, and nothing else. */
async function answeringAlways(bytes: string | Buffer) {
  const server = createServer((socket) => socket.on('error', () => socket.destroy()).end(bytes));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

/** Hands bytes on, and resets its connections when told to. */
async function relayTo(target: number) {
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = createConnection(target, '127.0.0.1');
    clients.add(client);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      from
        .on('error', () => to.destroy())
        .on('close', () => to.destroy())
        .pipe(to);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    resetAll(): void {
      for (const client of clients) client.resetAndDestroy();
    },
    close: () => void server.close(),
  };
}
