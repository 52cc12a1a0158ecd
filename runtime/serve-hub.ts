import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { EmpError, ERROR_CODES, toEmpError } from '#protocol/errors.ts';
import { hubLinkPath } from '#protocol/hub-link.ts';
import { frameLimitBytes } from '#protocol/link.ts';
import { acceptedLink } from '#protocol/peer/ws-accept.ts';
import type { HubCore } from './compose-hub.ts';
import { bulkRoutes } from './http/bulk-routes.ts';
import { EventStreams, EventsQuery, eventRoutes } from './http/event-routes.ts';
import { fleetRoutes } from './http/fleet-routes.ts';
import { healthRoutes, probePaths } from './http/health-routes.ts';
import { type HttpApp, httpApp, type Route } from './http/http-app.ts';
import { jobRoutes } from './http/job-routes.ts';
import { limitRoutes } from './http/limit-routes.ts';
import { baseUrlOf, checkOrigin, traceIdOf } from './http/request-checks.ts';
import { scheduleRoutes } from './http/schedule-routes.ts';
import { StartGate } from './http/start-gate.ts';
import { parseDocument, toProblem } from './hub/problem.ts';
import type { StoreNames } from './hub/status.ts';

/** A hub on its sockets. */
export interface HubServer {
  /** Lets requests in: the core has started. */
  open(): void;
  /** `http://127.0.0.1:7700`. */
  readonly url: string;
  readonly port: number;
  /** For tests that need no socket. */
  readonly app: HttpApp;
  /** Tells machines, ends streams and requests, closes the sockets. Stops the core where it was opened. Idempotent. */
  stop(): Promise<void>;
}

/** UTF-8 has at most four bytes a character; frames are limited in characters once they are read. */
const socketLimitBytes = 4 * frameLimitBytes;
/** How long sockets may take to close before they are cut, ms. */
const closeLimitMs = 1_000;

/** Routes and upgrades around a core. `extend` adds routes of others, e.g. those of the object store. */
export function hubApp(options: {
  core: HubCore;
  stores: StoreNames;
  stopped: AbortSignal;
  gate: StartGate;
  extend?: (app: HttpApp) => void;
}): { app: HttpApp; sockets: WebSocketServer; routes: readonly Route[] } {
  const { core, stopped, gate } = options;
  const { hub } = core;
  const { app, routes } = httpApp(hub.env);
  app.addHook('onRequest', (request, reply, done) => {
    if (probePaths.has(request.routeOptions.url ?? '')) return done();
    const leave = gate.pass({ go: () => done(), refuse: done });
    if (leave !== null) reply.raw.once('close', leave);
  });
  const streams = new EventStreams(hub);
  healthRoutes(app, { core, stores: options.stores, gate });
  jobRoutes(app, hub);
  fleetRoutes(app, hub);
  limitRoutes(app, hub);
  scheduleRoutes(app, hub);
  bulkRoutes(app, hub);
  eventRoutes(app, hub, { streams, stopped });
  options.extend?.(app);
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: socketLimitBytes,
    perMessageDeflate: false,
  });
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // A client that hangs up in the middle of an upgrade must not end the process.
    socket.on('error', (error) => hub.env.log.info('upgrade.failed', { detail: error.message }));
    const go = () => {
      try {
        const accept = upgradeTarget({ core, streams, stopped, request });
        sockets.handleUpgrade(request, socket, head, accept);
      } catch (error) {
        refuseUpgrade(socket, toEmpError(error), request);
      }
    };
    const leave = gate.pass({ go, refuse: (error) => refuseUpgrade(socket, error, request) });
    if (leave !== null) leaveWithSocket(socket, leave);
  });
  return { app, sockets, routes };
}

/** Who hangs up leaves the gate. Only a socket that is read tells, and before the answer a client may send nothing (RFC 6455, 4.1). */
function leaveWithSocket(socket: Duplex, leave: () => void): void {
  socket.once('close', leave);
  socket.once('end', () => {
    leave();
    socket.end();
  });
  socket.resume();
}

function upgradeTarget(options: {
  core: HubCore;
  streams: EventStreams;
  stopped: AbortSignal;
  request: IncomingMessage;
}): (socket: WebSocket) => void {
  const { core, streams, stopped, request } = options;
  checkOrigin(request.headers);
  const url = new URL(request.url ?? '/', 'http://hub');
  if (url.pathname === '/v1/link') return (socket) => acceptMachine(core, request, socket);
  if (url.pathname === hubLinkPath) return (socket) => acceptHub(core, request, socket);
  if (url.pathname !== '/v1/events') {
    throw new EmpError('NOT_FOUND', {
      detail: `WebSockets are taken on /v1/link, /v1/events and, for other hubs, ${hubLinkPath}`,
    });
  }
  const query = parseDocument(EventsQuery, Object.fromEntries(url.searchParams), { what: 'The query' });
  streams.admit();
  return (socket) => {
    const gone = new AbortController();
    const end = () => gone.abort();
    socket.once('close', end);
    socket.on('error', end);
    socket.on('message', () => socket.close(1_008, 'this socket only sends'));
    stopped.addEventListener('abort', end, { once: true });
    const following = streams
      .follow(socket, query, gone.signal)
      .finally(() => stopped.removeEventListener('abort', end));
    core.hub.background('events.follow', following);
  };
}

function bearerOf(request: IncomingMessage): string | null {
  const found = /^Bearer ([\w.~+/=-]{1,2048})$/i.exec(request.headers.authorization ?? '');
  return found?.[1] ?? null;
}

function acceptHub(core: HubCore, request: IncomingMessage, socket: WebSocket): void {
  let session: ReturnType<HubCore['acceptPeer']> = null;
  const link = acceptedLink(socket, {
    sendLimitBytes: core.hub.config.sendBufferLimitBytes * 2,
    handlers: {
      message: (text) => session?.message(text),
      closed: (info) => session?.closed(info),
    },
  });
  session = core.acceptPeer(link, { token: bearerOf(request) });
}

function acceptMachine(core: HubCore, request: IncomingMessage, socket: WebSocket): void {
  const { sendBufferLimitBytes } = core.hub.config;
  let session: ReturnType<HubCore['connect']> | null = null;
  const link = acceptedLink(socket, {
    sendLimitBytes: sendBufferLimitBytes * 2,
    handlers: {
      message: (text) => session?.message(text),
      closed: () => session?.closed(),
    },
  });
  session = core.connect(link, { token: bearerOf(request), baseUrl: baseUrlOf(request.headers) });
}

/**
 * A refused upgrade is an ordinary HTTP answer with a problem document. The socket is HTTP's no more: one whose
 * client does not hang up would keep the server from closing.
 */
function refuseUpgrade(socket: Duplex, error: EmpError, request: IncomingMessage): void {
  const { status } = ERROR_CODES[error.code];
  const problem = toProblem(error, {
    instance: (request.url ?? '/').split('?')[0] ?? null,
    traceId: traceIdOf(request.headers),
  });
  const body = JSON.stringify(problem);
  const retry = status === 503 || status === 429 ? 'Retry-After: 1\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${retry}Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/**
 * Listens on the configured address for a core that has not started yet: one that cannot listen must
 * take no role. Requests but probes wait until `open`, or are refused by `stop`. Throws CONFIG_INVALID when the address cannot be had.
 */
export async function serveHub(options: {
  core: HubCore;
  stores: StoreNames;
  extend?: (app: HttpApp) => void;
}): Promise<HubServer> {
  const { core } = options;
  const { config, env } = core.hub;
  const stopping = new AbortController();
  const gate = new StartGate();
  const { app, sockets } = hubApp({ ...options, gate, stopped: stopping.signal });
  try {
    await app.listen({ host: config.host, port: config.port });
  } catch (error) {
    const detail = `cannot listen on ${config.host}:${config.port}: ${(error as Error).message}. Choose another with --listen HOST:PORT or EMP_PORT, or 0 for a free one`;
    throw new EmpError('CONFIG_INVALID', { detail, cause: error });
  }
  const { port } = app.server.address() as AddressInfo;
  const name = config.host.includes(':') ? `[${config.host}]` : config.host;
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    stopping.abort();
    gate.close();
    if (gate.isOpen) await core.stop();
    const cut = env.clock.setTimeout(() => {
      for (const socket of sockets.clients) socket.terminate();
    }, closeLimitMs);
    await app.close();
    env.clock.clearTimeout(cut);
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  };
  return {
    url: `http://${name}:${port}`,
    port,
    app,
    open: () => gate.open(),
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}
