import { createHmac, timingSafeEqual } from 'node:crypto';
import { EmpError } from '#protocol/errors.ts';
import { signedUrlLimitMs } from '#protocol/objects.ts';
import { checkObjectKey, invalidField, objectKeyProblem } from './object-key.ts';

/**
 * Signed URLs of the folder store: everything that the bearer may do stands in the URL, under an
 * HMAC-SHA256 of the hub's secret. Pure: the hub's route and the store verify with the same function.
 * Form: `{baseUrl}/objects/{key}?method=…&until=…[&…]&signature=…`.
 */

export interface GetGrant {
  method: 'GET';
  key: string;
  /** Ends at this time by the hub's clock, ms since 1970. */
  untilMs: number;
  downloadName: string | null;
}

export interface PutGrant {
  method: 'PUT';
  key: string;
  untilMs: number;
  bytes: number | null;
  sha256: string | null;
  limitBytes: number;
  mime: string;
}

export type Grant = GetGrant | PutGrant;

export type Verified<G extends Grant = Grant> =
  | { kind: 'granted'; grant: G }
  | { kind: 'refused'; reason: 'malformed' | 'forged' | 'expired'; detail: string };

/** Query parameters by method, in the order of the URL. */
const FIELDS = { GET: ['until', 'name'], PUT: ['until', 'bytes', 'sha256', 'limit', 'mime'] } as const;

function toFields(grant: Grant): Record<string, string | null> {
  const until = String(grant.untilMs);
  if (grant.method === 'GET') return { until, name: grant.downloadName };
  const { bytes, sha256, limitBytes, mime } = grant;
  return { until, bytes: bytes === null ? null : String(bytes), sha256, limit: String(limitBytes), mime };
}

/** JSON keeps fields apart whatever they hold: no two grants sign the same text. */
function signatureOf(grant: Grant, secret: string): Buffer {
  const fields = toFields(grant);
  const text = JSON.stringify([
    'emp-object-1',
    grant.method,
    grant.key,
    ...FIELDS[grant.method].map((name) => fields[name] ?? null),
  ]);
  return createHmac('sha256', secret).update(text).digest();
}

export function signUrl(options: { baseUrl: string; grant: Grant; secret: string }): string {
  const { grant } = options;
  checkObjectKey(grant.key);
  const text = `${options.baseUrl.replace(/\/+$/, '')}/objects/${grant.key}`;
  if (!/^https?:\/\/[^/]/.test(text) || !URL.canParse(text))
    throw invalidField('/baseUrl', 'is the http or https URL of a hub');
  const url = new URL(text);
  url.searchParams.set('method', grant.method);
  const fields = toFields(grant);
  for (const name of FIELDS[grant.method]) {
    const value = fields[name];
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  url.searchParams.set('signature', signatureOf(grant, options.secret).toString('base64url'));
  return url.href;
}

/** When a URL that is signed now ends; throws `VALIDATION_FAILED` naming `expiresInMs`. */
export function signedUntilMs(nowMs: number, expiresInMs: number): number {
  if (expiresInMs > 0 && expiresInMs <= signedUrlLimitMs) return Math.floor(nowMs + expiresInMs);
  const detail = `expiresInMs is above 0 and at most ${signedUrlLimitMs}`;
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/expiresInMs', detail }] });
}

const whole = (text: string | undefined) =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
const malformed = (detail: string) => ({ kind: 'refused', reason: 'malformed', detail }) as const;

/** Each parameter at most once, none that we did not write. */
function parametersOf(url: URL, method: Grant['method']): Map<string, string> | null {
  const known: string[] = ['method', 'signature', ...FIELDS[method]];
  const found = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!known.includes(name) || found.has(name)) return null;
    found.set(name, value);
  }
  return found;
}

function grantOf(method: Grant['method'], key: string, parameters: Map<string, string>): Grant | null {
  const untilMs = whole(parameters.get('until'));
  if (untilMs === null) return null;
  if (method === 'GET') return { method, key, untilMs, downloadName: parameters.get('name') ?? null };
  const limitBytes = whole(parameters.get('limit'));
  const bytes = whole(parameters.get('bytes'));
  const mime = parameters.get('mime');
  if (limitBytes === null || mime === undefined || (parameters.has('bytes') && bytes === null)) return null;
  return { method, key, untilMs, bytes, sha256: parameters.get('sha256') ?? null, limitBytes, mime };
}

const pathPrefix = '/objects/';

/** The parts of a URL that its signature covers; `url` is absolute, or path and query. */
function parseSignedUrl(text: string, method: Grant['method']): { grant: Grant; signature: Buffer } | string {
  if (text.length > 4_096 || !URL.canParse(text, 'http://hub.invalid')) return 'is no URL';
  const url = new URL(text, 'http://hub.invalid');
  const at = url.pathname.indexOf(pathPrefix);
  if (at < 0) return `has no ${pathPrefix} in its path`;
  const key = url.pathname.slice(at + pathPrefix.length);
  const problem = objectKeyProblem(key);
  if (problem !== null) return `names a key that is none: a key ${problem}`;
  if (url.searchParams.get('method') !== method) return `was not signed for ${method}`;
  const parameters = parametersOf(url, method);
  const grant = parameters && grantOf(method, key, parameters);
  if (!parameters || !grant) return 'has parameters that no signed URL has';
  return { grant, signature: Buffer.from(parameters.get('signature') ?? '', 'base64url') };
}

/**
 * What this URL allows its bearer now. A HEAD is verified as GET. The signature is compared in
 * constant time, and before the expiry: a forger learns nothing from the answer.
 */
export function verifySignedUrl<M extends Grant['method']>(options: {
  url: string;
  method: M;
  secret: string;
  nowMs: number;
}): Verified<Extract<Grant, { method: M }>> {
  const parsed = parseSignedUrl(options.url, options.method);
  if (typeof parsed === 'string') return malformed(`The URL ${parsed}. Ask the hub for a fresh one.`);
  const expected = signatureOf(parsed.grant, options.secret);
  if (parsed.signature.length !== expected.length || !timingSafeEqual(parsed.signature, expected)) {
    return {
      kind: 'refused',
      reason: 'forged',
      detail:
        'The signature of the URL does not fit what it asks for. Use it unchanged, or ask the hub for a fresh one.',
    };
  }
  if (parsed.grant.untilMs <= options.nowMs) {
    return {
      kind: 'refused',
      reason: 'expired',
      detail: 'The URL has expired. Ask the hub for a fresh one.',
    };
  }
  return { kind: 'granted', grant: parsed.grant as Extract<Grant, { method: M }> };
}
