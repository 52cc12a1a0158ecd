import type { Rng } from './env.ts';
import { EmpError } from './errors.ts';
import { EVENT_DATA, EventType, eventDataLimitBytes } from './events.ts';
import type { JobId } from './names.ts';
import type { RecordedEvent } from './records.ts';

/** What every Records refuses before it touches its store, in the same words. */

/** Largest preview, bytes. */
export const previewLimitBytes = 65_536;
/** Largest report of a machine, bytes as JSON. */
const reportLimitBytes = 65_536;
/** Shortest and longest time that a singleton may be held without renewal, ms. */
const ttlRangeMs = { least: 1_000, most: 600_000 };
const secretName = /^[a-z][a-z0-9-]{0,63}$/;

function refuse(pointer: string, detail: string): never {
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer, detail }] });
}

const bytesOf = (text: string) => new TextEncoder().encode(text).byteLength;

/** JSON of an event's data in the form that events.ts says. */
export function checkedEventData({ type, data }: Omit<RecordedEvent, 'seq'>): string {
  const refuseAt = (pointer: string, detail: string): never => {
    throw new EmpError('VALIDATION_FAILED', {
      detail: `${pointer.slice(1)}: ${detail}`,
      errors: [{ pointer, detail }],
    });
  };
  const known = EventType.safeParse(type);
  if (!known.success) return refuseAt('/type', `${type} is not an event of protocol/events.ts`);
  const parsed = EVENT_DATA[known.data].safeParse(data);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuseAt(`/data/${issue?.path.join('/') ?? ''}`, issue?.message ?? 'has another form');
  }
  const text = JSON.stringify(parsed.data);
  if (bytesOf(text) > eventDataLimitBytes)
    return refuseAt('/data', `has at most ${eventDataLimitBytes} bytes as JSON`);
  return text;
}

export function checkPreview(jobId: JobId, bytes: Uint8Array): void {
  if (bytes.byteLength <= previewLimitBytes) return;
  const detail = `A preview has at most ${previewLimitBytes} bytes; this one has ${bytes.byteLength}. Send it smaller.`;
  throw new EmpError('BODY_TOO_LARGE', { detail, fields: { jobId } });
}

export function noJobForPreview(jobId: JobId): EmpError {
  const detail = `There is no job ${jobId} to keep a preview for.`;
  return new EmpError('NOT_FOUND', { detail, fields: { jobId } });
}

/** JSON of a machine's report. */
export function checkedReport(report: RecordedEvent['data']): string {
  const text = JSON.stringify(report);
  if (bytesOf(text) > reportLimitBytes)
    refuse('/report', `report has at most ${reportLimitBytes} bytes as JSON`);
  return text;
}

export function checkSingletonTtl(ttlMs: number): void {
  if (ttlMs >= ttlRangeMs.least && ttlMs <= ttlRangeMs.most) return;
  refuse('/ttlMs', `ttlMs is from ${ttlRangeMs.least} to ${ttlRangeMs.most}`);
}

export function checkSecretName(name: string): void {
  if (secretName.test(name)) return;
  refuse('/name', 'a secret has a name of 1 to 64 characters of a-z 0-9 - that begins with a letter');
}

/** 32 random bytes as base64url. */
export function newSecret(rng: Rng): string {
  const bytes = Array.from({ length: 32 }, () => rng.int(0, 255));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
