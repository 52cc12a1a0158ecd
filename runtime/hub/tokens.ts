import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { HubId, Incarnation, MachineId, type MachineRef } from '#protocol/names.ts';

/**
 * Bearer tokens of machines and hubs: `emp1.<base64url JSON>.<base64url HMAC-SHA256>`, keyed by a secret of
 * Records, so that every hub on one store accepts them. A join token lets any machine enrol until it
 * expires; a machine token speaks for one incarnation of one machine; a hub token for one run of one
 * hub towards one other, for as long as a dial takes.
 */
const TokenBody = z.discriminatedUnion('k', [
  z.strictObject({ k: z.literal('join'), exp: z.int(), id: z.string().max(64) }),
  z.strictObject({ k: z.literal('machine'), exp: z.int(), m: MachineId, i: Incarnation }),
  z.strictObject({ k: z.literal('hub'), exp: z.int(), h: HubId, r: z.int(), to: HubId }),
]);
type TokenBody = z.infer<typeof TokenBody>;

/** One run of a hub's process. */
export interface HubRun {
  hubId: HubId;
  run: number;
}

export type Bearer = { kind: 'join'; id: string } | ({ kind: 'machine' } & MachineRef);

const prefix = 'emp1';
const tokenLimitChars = 1_024;
/** A machine that was away longer joins anew. */
const machineTokenMs = 30 * 86_400_000;
/** A hub makes a new one for each dial; the rest is for clocks that disagree. */
const hubTokenMs = 60_000;
export const joinTokenDefaultMs = 3_600_000;
export const joinTokenLimitMs = 30 * 86_400_000;

export class Tokens {
  readonly #secret: string;

  /** `secret`: at least 16 characters that every hub of the store shares. */
  constructor(secret: string) {
    if (secret.length < 16) throw new RangeError('the token secret has fewer than 16 characters');
    this.#secret = secret;
  }

  join(options: { id: string; nowMs: number; ttlMs: number }): { token: string; expiresAtMs: number } {
    const expiresAtMs = options.nowMs + options.ttlMs;
    return { token: this.#seal({ k: 'join', exp: expiresAtMs, id: options.id }), expiresAtMs };
  }

  machine(ref: MachineRef, nowMs: number): string {
    return this.#seal({ k: 'machine', exp: nowMs + machineTokenMs, m: ref.machineId, i: ref.incarnation });
  }

  /** Opens a link from `from` to the hub `to`, and nothing else. */
  hub(from: HubRun, to: HubId, nowMs: number): string {
    return this.#seal({ k: 'hub', exp: nowMs + hubTokenMs, h: from.hubId, r: from.run, to });
  }

  /** Which hub dials the hub `to` with this token. Throws UNAUTHORIZED as `check` does. */
  checkHub(token: string, to: HubId, nowMs: number): HubRun {
    const body = this.#open(token);
    if (body === null || body.k !== 'hub' || body.to !== to) {
      throw new EmpError('UNAUTHORIZED', {
        detail: `The token was not made for hub ${to} by a hub of this store: hubs make their own, with the secret that they share through Records`,
      });
    }
    if (nowMs >= body.exp) {
      throw new EmpError('UNAUTHORIZED', {
        detail: 'The hub token has expired: do the clocks of the two hubs agree?',
      });
    }
    return { hubId: body.h, run: body.r };
  }

  /** Whom a machine's token speaks for. Throws UNAUTHORIZED for anything that this store's hubs did not make or that has expired. */
  check(token: string, nowMs: number): Bearer {
    const body = this.#open(token);
    if (body === null || body.k === 'hub') {
      throw new EmpError('UNAUTHORIZED', {
        detail:
          'The token was not made by a hub of this store: get one with POST /v1/join-tokens and send it as Authorization: Bearer',
      });
    }
    if (nowMs >= body.exp) {
      throw new EmpError('UNAUTHORIZED', {
        detail: `The ${body.k} token has expired: get a new join token with POST /v1/join-tokens`,
      });
    }
    return body.k === 'join'
      ? { kind: 'join', id: body.id }
      : { kind: 'machine', machineId: body.m, incarnation: body.i };
  }

  #seal(body: TokenBody): string {
    const text = Buffer.from(JSON.stringify(body)).toString('base64url');
    return `${prefix}.${text}.${this.#sign(text).toString('base64url')}`;
  }

  #open(token: string): TokenBody | null {
    if (token.length > tokenLimitChars) return null;
    const [head, text, signature, ...rest] = token.split('.');
    if (head !== prefix || text === undefined || signature === undefined || rest.length > 0) return null;
    const expected = this.#sign(text);
    const given = Buffer.from(signature, 'base64url');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
    const parsed = TokenBody.safeParse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
    return parsed.success ? parsed.data : null;
  }

  #sign(text: string): Buffer {
    return createHmac('sha256', this.#secret).update(`${prefix}.${text}`).digest();
  }
}
