import { InvalidArgumentError } from 'commander';
import type { JsonObject, JsonValue } from '#protocol/json.ts';

/** Readers of option values. A wrong one throws `InvalidArgumentError`: exit 2, with the option named. */

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `1h`, `2d`, or a number of seconds; to ms. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]) * (UNIT_MS[match[2] ?? 's'] ?? 1);
  if (!Number.isSafeInteger(Math.round(value)) || value <= 0) {
    throw new InvalidArgumentError('Write a duration above 0 such as 500ms, 30s, 5m, 1h or 2d.');
  }
  return Math.round(value);
}

/** A duration ago (`1h`) or a time (`2026-11-21T08:00:00Z`); to ms since 1970, 0 for all that lies before. */
export function sinceMs(text: string, nowMs: number): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)?$/.test(text.trim())) return Math.max(0, nowMs - durationMs(text));
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new InvalidArgumentError('Write a duration such as 1h or a time such as 2026-11-21T08:00:00Z.');
  return Math.max(0, time);
}

/** A duration from now (`1h`) or a time with its zone (`2026-11-21T08:00:00Z`); as a submission has it. */
export function startTime(text: string, nowMs: number): string {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)?$/.test(text.trim())) {
    const time = new Date(nowMs + durationMs(text));
    if (!Number.isNaN(time.getTime()) && time.getUTCFullYear() < 10_000) return time.toISOString();
  } else if (!Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError('Write a duration such as 1h or a time such as 2026-11-21T08:00:00Z.');
}

/** Reader of a whole number within limits. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`Write a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Collects a repeatable option. */
export function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** `a,b` to a list; every part must be one of `known`, if given. */
export function list<T extends string>(known?: readonly T[]): (text: string) => T[] {
  return (text) => {
    const parts = text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '') as T[];
    const unknown = known && parts.find((part) => !known.includes(part));
    if (unknown !== undefined) throw new InvalidArgumentError(`${unknown} is none of ${known?.join(', ')}.`);
    if (parts.length === 0) throw new InvalidArgumentError('Write at least one name.');
    return parts;
  };
}

/** `key=value` at the first `=`. */
export function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1)
    throw new InvalidArgumentError(`${JSON.stringify(text)} has no key before "=": write key=value.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** JSON where the text is JSON (`2`, `true`, `[1]`, `"2"`), else the text itself. */
function looseValue(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Sets `path=value` in a copy of the payload. Dots descend into objects and make them; a number, `true`,
 * `null`, or any JSON counts as such, anything else is a string.
 */
export function withSetting(payload: JsonObject, setting: string): JsonObject {
  const [path, text] = pair(setting);
  const keys = path.split('.');
  if (keys.some((key) => key === '' || key === '__proto__' || key === 'constructor' || key === 'prototype')) {
    throw new InvalidArgumentError(
      `${JSON.stringify(path)} cannot be set: write names separated by single dots.`,
    );
  }
  const put = (target: JsonObject, [key, ...rest]: string[]): JsonObject => {
    if (key === undefined) return target;
    const inner = target[key];
    return {
      ...target,
      [key]: rest.length === 0 ? looseValue(text) : put(isObject(inner) ? inner : {}, rest),
    };
  };
  return put(payload, keys);
}

/** `--policy a,b`: names, each once; whether they exist is asked when the catalogue is loaded. */
export function policyList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === '')) throw new InvalidArgumentError('Write names as a,b,c.');
  if (new Set(names).size < names.length) throw new InvalidArgumentError('Name each policy once.');
  return names;
}

/** `--load X`: above 0, at most 100. */
export function loadFactor(text: string): number {
  const load = Number(text);
  if (!(load > 0 && load <= 100)) throw new InvalidArgumentError('Write a number above 0, at most 100.');
  return load;
}
