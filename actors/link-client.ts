import type { LinkNotice } from '#machines/link.ts';
import type { Clock, Log, TimerId } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import {
  decodeFrame,
  type Envelope,
  frameLimitBytes,
  HUB_NOTICES,
  type HubNoticeType,
  LINK_REQUESTS,
  type LinkAnswer,
  type LinkBody,
  type LinkRequestType,
  linkVersion,
  type MachineNotice,
  type MachineNoticeType,
} from '#protocol/link.ts';
import type { PeerDialer, PeerLink } from '#protocol/peer.ts';

export interface LinkClientOptions {
  clock: Clock;
  log: Log;
  dialer: PeerDialer;
  /** Shows that this machine may join; replaced by the machine token of the welcome. */
  joinToken: string;
  /** A frame that cannot be read, or an answer that nobody waits for. */
  onDeadLetter: (letter: { reason: 'decode' | 'unknown-address'; detail: string }) => void;
}

export interface RequestOptions {
  deadlineMs: number;
  signal?: AbortSignal;
}

interface Pending {
  type: LinkRequestType;
  settle: (outcome: { answer: JsonObject } | { error: EmpError }) => void;
}

/** Most requests that may wait for answers at once: beyond it something asks without reading. */
const pendingLimit = 512;
/** Close codes with which a hub says that the token is not good. */
const refusedCodes = [4401, 4403];

const linkClosed = () => new EmpError('LINK_CLOSED');

/**
 * The machine's side of the link: frames, correlation, deadlines. It decides nothing; the link's chart
 * says when to connect, and others ask through `request`. Everything that waits is refused with
 * `LINK_CLOSED` when the connection ends; whoever must have an answer asks again on the next one.
 */
export class LinkClient {
  readonly #options: LinkClientOptions;
  readonly #pending = new Map<number, Pending>();
  #link: PeerLink | null = null;
  /** The hub has answered hello on this link: before that it knows nobody and refuses whatever is asked. */
  #greeted = false;
  #nextId = 1;
  #machineToken: string | null = null;

  constructor(options: LinkClientOptions) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#link !== null;
  }

  /** The machine token of the last welcome; null goes back to the join token. */
  set machineToken(token: string | null) {
    this.#machineToken = token;
  }

  /** Requests that wait for an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  bufferedBytes(): number {
    return this.#link?.bufferedBytes() ?? 0;
  }

  /** Dials. `closed` is called once, also when the link never opened; the answer gives up or hangs up. */
  connect(options: {
    url: string;
    opened: () => void;
    closed: (info: { code: number; reason: string }) => void;
    notice: (notice: LinkNotice) => void;
  }): () => void {
    let own: PeerLink | null = null;
    let over = false;
    const end = (info: { code: number; reason: string }, tell: boolean) => {
      if (over) return;
      over = true;
      if (refusedCodes.includes(info.code)) this.#machineToken = null;
      if (this.#link === own && own !== null) this.#detach();
      if (tell) options.closed(info);
    };
    const dialled = this.#options.dialer.dial({
      url: options.url,
      token: this.#machineToken ?? this.#options.joinToken,
      handlers: {
        open: (link) => {
          if (over) return link.close(1000, 'given up');
          own = link;
          this.#link = link;
          this.#greeted = false;
          options.opened();
        },
        message: (text) => {
          if (!over) this.#receive(text, options.notice);
        },
        closed: (info) => end(info, true),
      },
    });
    return () => {
      const link = own;
      end({ code: 1000, reason: 'hung up' }, false);
      if (link === null) dialled.abort();
      else link.close(1000, 'hung up');
    };
  }

  /**
   * One request and its answer, checked against the schemas. Rejects with `LINK_CLOSED` (also while
   * hello is not answered), `TIMEOUT`, `FRAME_INVALID`, the hub's own error, or the reason of `signal`.
   */
  request<T extends LinkRequestType>(
    type: T,
    body: LinkBody<T>,
    options: RequestOptions,
  ): Promise<LinkAnswer<T>> {
    return new Promise((resolve, reject) => {
      const link = this.#link;
      if (options.signal?.aborted) return reject(options.signal.reason);
      if (link === null || (type !== 'hello' && !this.#greeted)) return reject(linkClosed());
      if (this.#pending.size >= pendingLimit)
        return reject(
          new EmpError('INBOX_FULL', { detail: `${pendingLimit} requests wait for the hub already` }),
        );
      const id = this.#nextId++;
      const timer: TimerId = this.#options.clock.setTimeout(
        () =>
          settle({
            error: new EmpError('TIMEOUT', {
              detail: `the hub did not answer ${type} within ${options.deadlineMs} ms`,
            }),
          }),
        options.deadlineMs,
      );
      const onAbort = () => settle({ error: toEmpError(options.signal?.reason) });
      const settle: Pending['settle'] = (outcome) => {
        this.#options.clock.clearTimeout(timer);
        options.signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        if ('error' in outcome) return reject(outcome.error);
        const parsed = LINK_REQUESTS[type].answer.safeParse(outcome.answer);
        if (parsed.success) {
          if (parsed.data.kind === 'welcome' && this.#link === link) this.#greeted = true;
          return resolve(parsed.data as LinkAnswer<T>);
        }
        this.#options.onDeadLetter({
          reason: 'decode',
          detail: `answer to ${type}: ${parsed.error.message}`,
        });
        reject(
          new EmpError('FRAME_INVALID', {
            detail: `the answer to ${type} does not have the expected form`,
            retryable: true,
          }),
        );
      };
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, { type, settle });
      const problem = this.#send(link, { v: linkVersion, id, type, body: body as JsonObject });
      if (problem !== null) settle({ error: problem });
    });
  }

  /** Sends a droppable notice; false if it was not sent. */
  notify<T extends MachineNoticeType>(type: T, body: MachineNotice<T>): boolean {
    const link = this.#link;
    return (
      link !== null &&
      this.#greeted &&
      this.#send(link, { v: linkVersion, type, body: body as unknown as JsonObject }) === null
    );
  }

  #send(link: PeerLink, frame: Envelope): EmpError | null {
    const text = JSON.stringify(frame);
    if (text.length > frameLimitBytes)
      return new EmpError('BODY_TOO_LARGE', {
        detail: `frame of ${text.length} characters, the link takes ${frameLimitBytes}`,
      });
    return link.send(text)
      ? null
      : new EmpError('LINK_CLOSED', { detail: 'the link is closed or its buffer is full' });
  }

  #receive(text: string, notice: (notice: LinkNotice) => void): void {
    const decoded = decodeFrame(text);
    if (decoded.kind === 'invalid')
      return this.#options.onDeadLetter({ reason: 'decode', detail: decoded.detail });
    const { frame } = decoded;
    if ('re' in frame) return this.#answered(frame);
    if ('id' in frame || !(frame.type in HUB_NOTICES)) {
      return this.#options.onDeadLetter({
        reason: 'decode',
        detail: `a frame of type ${frame.type} is unknown to version ${linkVersion}`,
      });
    }
    const type = frame.type as HubNoticeType;
    const body = HUB_NOTICES[type].safeParse(frame.body);
    if (!body.success)
      return this.#options.onDeadLetter({
        reason: 'decode',
        detail: `notice ${type}: ${body.error.message}`,
      });
    notice({ notice: type, body: body.data } as LinkNotice);
  }

  #answered(frame: Extract<Envelope, { re: number }>): void {
    const pending = this.#pending.get(frame.re);
    if (pending === undefined) {
      return this.#options.onDeadLetter({
        reason: 'unknown-address',
        detail: `an answer to request ${frame.re} came after its deadline`,
      });
    }
    if ('body' in frame) return pending.settle({ answer: frame.body });
    pending.settle({
      error: new EmpError(frame.error.code, {
        detail: frame.error.message,
        retryable: frame.error.retryable,
      }),
    });
  }

  #detach(): void {
    this.#link = null;
    this.#greeted = false;
    for (const pending of [...this.#pending.values()]) pending.settle({ error: linkClosed() });
  }
}
