import { EmpError } from './errors.ts';
import { HubId } from './names.ts';
import type { HubRow, Records } from './records.ts';

/** Which hubs share a store: one row each, judged by the store's own clock, for every store alike. */

/** `ttlMs` is what `untilMs` was counted from: it tells whether the clock stepped back since. */
export interface StoredHub extends HubRow {
  ttlMs: number;
}

/** A row as both stores keep it, in the columns of `hubs`. */
export function readHub(row: Record<string, unknown>): StoredHub {
  return {
    hubId: String(row['hub_id']),
    run: Number(row['run']),
    url: row['url'] === null ? null : String(row['url']),
    version: String(row['version']),
    broker: row['broker'] === null ? null : String(row['broker']),
    startedAtMs: Number(row['started_at_ms']),
    untilMs: Number(row['until_ms']),
    ttlMs: Number(row['ttl_ms']),
  };
}

/** How long the row of a hub that has ended is kept, ms: its number must stay below that of its next start. */
export const hubKeptMs = 86_400_000;
/** Hubs that one store may list at once. */
export const hubsLimit = 64;
const urlLimitChars = 2_048;
const versionLimitChars = 64;
const brokerLimitChars = 128;

export function hubStands({ untilMs, ttlMs }: StoredHub, nowMs: number): boolean {
  return untilMs > nowMs && untilMs - ttlMs <= nowMs;
}

type Wanted = Parameters<Records['registerHub']>[0];

/**
 * The row after a call of `registerHub`; null where a newer process runs under the id. The number of a
 * start is a time, so that it rises even where the former row was removed.
 */
export function decideHub(row: StoredHub | null, wanted: Wanted, nowMs: number): StoredHub | null {
  const { hubId, url, version, broker, ttlMs, run } = wanted;
  const untilMs = nowMs + ttlMs;
  const renewed = row !== null && row.run === run;
  if (renewed) return { ...row, url, version, broker, untilMs, ttlMs };
  if (run !== null && row !== null && row.run > run && hubStands(row, nowMs)) return null;
  const next = Math.max(Math.floor(nowMs), (row?.run ?? 0) + 1);
  return { hubId, url, version, broker, run: next, startedAtMs: nowMs, untilMs, ttlMs };
}

/** The row as callers see it. */
export function hubRow({ hubId, run, url, version, broker, startedAtMs, untilMs }: StoredHub): HubRow {
  return { hubId, run, url, version, broker, startedAtMs, untilMs };
}

export function checkHub({ hubId, url, version, broker, ttlMs }: Wanted): void {
  if (!HubId.safeParse(hubId).success)
    refuse(
      '/hubId',
      'a hub id has 1 to 64 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit',
    );
  if (url !== null && (url.length > urlLimitChars || !URL.canParse(url)))
    refuse('/url', `is a URL of at most ${urlLimitChars} characters, e.g. http://10.0.0.5:7700, or null`);
  if (version.length > versionLimitChars) refuse('/version', `has at most ${versionLimitChars} characters`);
  if (broker !== null && broker.length > brokerLimitChars)
    refuse('/broker', `has at most ${brokerLimitChars} characters`);
  if (ttlMs < 1_000 || ttlMs > 600_000) refuse('/ttlMs', 'ttlMs is from 1000 to 600000');
}

function refuse(pointer: string, detail: string): never {
  throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer, detail }] });
}
