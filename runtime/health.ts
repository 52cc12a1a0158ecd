import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';

/** One question a platform asks of a process, with what `?verbose` adds. */
export interface HealthCheck {
  ok: boolean;
  /** Why not, in words; empty when ok. */
  reasons: string[];
}

export interface HealthSource {
  /** The process is worth keeping. Never "busy": whoever answers at all has a turning event loop. */
  live(): HealthCheck;
  /** It has come up once. */
  started(): HealthCheck;
  /** It takes work now. */
  ready(): HealthCheck;
  /** Everything worth seeing, no secrets. */
  verbose(): JsonObject;
}

export interface HealthServer {
  readonly url: string;
  close(): Promise<void>;
}

/** /livez, /startupz and /readyz on node:http: a web framework would cost more memory than the machine. */
export async function serveHealth(options: {
  host: string;
  port: number;
  source: HealthSource;
}): Promise<HealthServer> {
  const server = createServer(
    { requestTimeout: 5_000, headersTimeout: 5_000, maxHeaderSize: 8_192, keepAliveTimeout: 1_000 },
    (request, response) => answer(options.source, request, response),
  );
  server.maxConnections = 64;
  await listen(server, options);
  const { address, port, family } = server.address() as AddressInfo;
  const host = family === 'IPv6' ? `[${address}]` : address;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) =>
      reject(
        new EmpError('CONFIG_INVALID', {
          detail: `EMP_HEALTH_PORT: cannot listen on ${host}:${port}: ${error.message}; 0 takes a free port`,
          cause: error,
        }),
      );
    server.once('error', failed);
    server.listen(port, host, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

function answer(source: HealthSource, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://machine');
  const checks: Record<string, () => HealthCheck> = {
    '/livez': () => source.live(),
    '/startupz': () => source.started(),
    '/readyz': () => source.ready(),
  };
  const check = checks[url.pathname]?.();
  const send = (status: number, body: JsonObject) => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body)}\n`);
  };
  if (check === undefined) return send(404, { error: 'there are /livez, /startupz and /readyz' });
  if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, { error: 'GET or HEAD' });
  const detail = url.searchParams.has('verbose') ? source.verbose() : {};
  send(check.ok ? 200 : 503, { ok: check.ok, reasons: check.reasons, ...detail });
}
