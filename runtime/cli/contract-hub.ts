import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Job } from '#protocol/job.ts';

/**
 * Test server that answers what a test tells it, in the hub's wire form: for what a real hub never
 * does on purpose (broken answers, cut streams, wrong bytes). Everything else is tested on a real hub.
 */
export class ContractHub {
  readonly #server: Server;
  readonly #routes = new Map<string, Handler>();
  /** `METHOD path?query` of each request, in order, with its parsed body. */
  readonly requests: { line: string; headers: IncomingMessage['headers']; body: string }[] = [];

  constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<ContractHub> {
    const server = createServer();
    const hub = new ContractHub(server);
    server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      hub.#answer(request, response),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Answers `METHOD /path` (query not part of it) from now on. */
  on(route: string, handler: Handler): void {
    this.#routes.set(route, handler);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      this.requests.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
      const path = (request.url ?? '').split('?')[0];
      const handler = this.#routes.get(`${request.method} ${path}`);
      if (handler === undefined) return problem(response, 404, 'NOT_FOUND', `no such path ${path}`);
      handler({ request, response, body });
    });
  }

  /** Cuts every connection that is open now. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export type Handler = (exchange: {
  request: IncomingMessage;
  response: ServerResponse;
  body: string;
}) => void;

export function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

export function problem(
  response: ServerResponse,
  status: number,
  code: string,
  detail: string,
  errors: unknown[] = [],
): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(
    JSON.stringify({
      type: `urn:emp:error:${code}`,
      title: code,
      status,
      detail,
      code,
      errors,
      traceId: 'a'.repeat(32),
    }),
  );
}

/** A job as the hub answers it. */
export function sampleJob(change: Partial<Job> = {}): Job {
  return {
    id: 'job_1',
    service: 'image',
    state: 'waiting',
    pool: 'fast-lane',
    group: 'g0123456789abcdef',
    affinity: '-',
    models: [],
    priority: 50,
    customer: 'default',
    expectedMs: 1_000,
    maxRunMs: 60_000,
    maxAttempts: 3,
    attempts: 0,
    runs: 0,
    payload: {},
    inputs: [],
    requirements: {},
    labels: {},
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    submittedAtMs: 1_000,
    notBeforeMs: null,
    expiresAtMs: null,
    startedAtMs: null,
    finishedAtMs: null,
    cancelRequestedAtMs: null,
    brokeredAtMs: 1_000,
    limited: false,
    preemptible: false,
    fenceFloor: '0',
    token: null,
    machineId: null,
    incarnation: null,
    progress: 0,
    error: null,
    reason: null,
    result: null,
    ...change,
  };
}
