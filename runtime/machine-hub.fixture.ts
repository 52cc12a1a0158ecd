import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { JsonObject } from '#protocol/json.ts';
import {
  type Assignment,
  type ClaimResult,
  decodeFrame,
  type HubNotice,
  type HubNoticeType,
  LINK_REQUESTS,
  type LinkAnswer,
  type LinkBody,
  type LinkRequestType,
  linkVersion,
  MACHINE_NOTICES,
} from '#protocol/link.ts';

type Handlers = { [T in LinkRequestType]?: (body: LinkBody<T>) => LinkAnswer<T> | 'silence' };

/** One question of the machine as it was received, with its body checked against the schema. */
export interface Asked {
  type: LinkRequestType;
  body: JsonObject;
}

/**
 * A hub for tests of the machine: a real WebSocket server and a real object store on loopback, speaking
 * frames of protocol/link.ts, with answers that a test may replace one by one. It queues jobs and
 * nothing more: no store, no lease clock.
 */
export class TestHub {
  readonly asked: Asked[] = [];
  readonly notices: { type: string; body: JsonObject }[] = [];
  readonly objects = new Map<string, Buffer>();
  readonly queue: Assignment[] = [];
  /** Answers that replace the usual ones. */
  handlers: Handlers = {};
  leaseTtlMs = 30_000;
  beatMs = 50;
  refuseUpgrade = false;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #sockets = new Set<WebSocket>();
  readonly #waiters: { test: (asked: Asked) => boolean; resolve: (asked: Asked) => void }[] = [];
  #incarnation = 0;
  #token = 1_000;
  #url = '';

  async listen(): Promise<this> {
    const wss = new WebSocketServer({ noServer: true });
    this.#server.on('upgrade', (request, socket, head) => {
      if (this.refuseUpgrade) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
        return;
      }
      wss.handleUpgrade(request, socket, head, (ws) => this.#take(ws));
    });
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.#url = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  get url(): string {
    return `ws://${this.#url}/v1/link`;
  }

  get links(): number {
    return this.#sockets.size;
  }

  objectUrl(key: string): string {
    return `http://${this.#url}/${key}`;
  }

  /** Makes a job wait; with `wake` the machine is told. */
  submit(
    job: Partial<Assignment> & { jobId: string },
    options: { wake: boolean } = { wake: true },
  ): Assignment {
    const assignment: Assignment = {
      token: String(this.#token++),
      run: 1,
      attempts: 0,
      service: 'test',
      payload: {},
      inputs: [],
      models: [],
      expectedMs: 100,
      maxRunMs: 60_000,
      traceparent: '',
      ...job,
    };
    this.queue.push(assignment);
    if (options.wake) this.notify('wake', {});
    return assignment;
  }

  notify<T extends HubNoticeType>(type: T, body: HubNotice<T>): void {
    for (const socket of this.#sockets) socket.send(JSON.stringify({ v: linkVersion, type, body }));
  }

  /** Every link ends without a close frame. */
  cut(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  raw(text: string): void {
    for (const socket of this.#sockets) socket.send(text);
  }

  bodies<T extends LinkRequestType>(type: T): LinkBody<T>[] {
    return this.asked.filter((asked) => asked.type === type).map((asked) => asked.body as LinkBody<T>);
  }

  /** The next request of this type, or one that came already, that `test` accepts. */
  async saw<T extends LinkRequestType>(
    type: T,
    test: (body: LinkBody<T>) => boolean = () => true,
  ): Promise<LinkBody<T>> {
    const fits = (asked: Asked) => asked.type === type && test(asked.body as LinkBody<T>);
    const found =
      this.asked.find(fits) ??
      (await new Promise<Asked>((resolve) => this.#waiters.push({ test: fits, resolve })));
    return found.body as LinkBody<T>;
  }

  /** The next request of this type from now on that `test` accepts. */
  async next<T extends LinkRequestType>(type: T, test: (body: LinkBody<T>) => boolean): Promise<LinkBody<T>> {
    const fits = (asked: Asked) => asked.type === type && test(asked.body as LinkBody<T>);
    const found = await new Promise<Asked>((resolve) => this.#waiters.push({ test: fits, resolve }));
    return found.body as LinkBody<T>;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  nextClaim(): ClaimResult {
    const assignment = this.queue.shift();
    return assignment === undefined
      ? { kind: 'empty' }
      : { kind: 'leased', assignment, more: this.queue.length > 0 };
  }

  #take(socket: WebSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', (error) =>
      this.notices.push({ type: 'socket.error', body: { message: error.message } }),
    );
    socket.on('message', (data) => this.#receive(socket, data.toString()));
  }

  #receive(socket: WebSocket, text: string): void {
    const decoded = decodeFrame(text);
    if (decoded.kind === 'invalid') throw new Error(`the machine sent a bad frame: ${decoded.detail}`);
    const { frame } = decoded;
    if ('re' in frame) throw new Error('a machine does not answer');
    if (!('id' in frame)) {
      const schema = MACHINE_NOTICES[frame.type as keyof typeof MACHINE_NOTICES];
      this.notices.push({ type: frame.type, body: schema.parse(frame.body) as unknown as JsonObject });
      return;
    }
    const type = frame.type as LinkRequestType;
    const body = LINK_REQUESTS[type].body.parse(frame.body);
    const asked: Asked = { type, body: body as unknown as JsonObject };
    const handler =
      (this.handlers[type] as ((body: unknown) => unknown) | undefined) ??
      ((b: unknown) => this.#usual(type, b));
    const answer = handler(body);
    this.asked.push(asked);
    if (answer !== 'silence') socket.send(JSON.stringify({ v: linkVersion, re: frame.id, body: answer }));
    for (const waiter of this.#waiters.filter((candidate) => candidate.test(asked))) {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      waiter.resolve(asked);
    }
  }

  #usual(type: LinkRequestType, body: unknown): unknown {
    switch (type) {
      case 'hello': {
        const { incarnation } = body as LinkBody<'hello'>;
        const own = incarnation ?? ++this.#incarnation;
        return {
          kind: 'welcome',
          incarnation: own,
          machineToken: `machine-token-${own}`,
          leaseTtlMs: this.leaseTtlMs,
          beatMs: this.beatMs,
          cordoned: false,
          hubId: 'test',
        };
      }
      case 'claim':
        return this.nextClaim();
      case 'beat':
        return { kind: 'ok', drop: [], cancel: [], work: false };
      case 'complete':
        return {
          kind: 'committed',
          detail: null,
          next: (body as LinkBody<'complete'>).next === null ? null : this.nextClaim(),
        };
      case 'exit':
      case 'leave':
        return { kind: 'ok' };
      case 'sign':
        return this.#sign(body as LinkBody<'sign'>);
    }
  }

  #sign(body: LinkBody<'sign'>): LinkAnswer<'sign'> {
    if (body.what === 'results') {
      const files = body.files.map((file) => ({
        ...file,
        object: `results/${body.jobId}/${body.token}/${file.name}`,
      }));
      return {
        kind: 'signed',
        files: files.map((file) => ({ ...file, urls: [this.objectUrl(file.object)] })),
        manifest: null,
      };
    }
    if (body.what === 'model')
      return {
        kind: 'refused',
        error: {
          code: 'UNKNOWN_MODEL',
          message: `model ${body.modelId} is not registered`,
          retryable: false,
        },
      };
    const names = [...this.objects.keys()].filter((key) => key.startsWith('inputs/'));
    const files = names.map((key) => {
      const bytes = this.objects.get(key) as Buffer;
      return {
        name: key.slice('inputs/'.length),
        object: key,
        urls: [this.objectUrl(key)],
        bytes: bytes.length,
        sha256: sha256(bytes),
        mime: 'application/octet-stream',
      };
    });
    return { kind: 'signed', files, manifest: null };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = (request.url ?? '/').slice(1);
    if (request.method === 'PUT') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      this.objects.set(key, Buffer.concat(chunks));
      response.end();
      return;
    }
    const bytes = this.objects.get(key);
    response.statusCode = bytes === undefined ? 404 : 200;
    response.end(bytes);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
