import { z } from 'zod';

/** What survives JSON: the only data that crosses a process boundary or a store. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue | undefined };

export const JsonObject: z.ZodType<JsonObject> = z.record(z.string(), z.json());
export const JsonValue: z.ZodType<JsonValue> = z.json();

/** Depth beyond which a document is refused: recursion over it must stay far from the stack's end. */
export const jsonDepthLimit = 64;

/** Nesting depth of a parsed JSON value (a scalar is 0), counted without recursion. */
export function jsonDepth(value: JsonValue | undefined): number {
  let level: JsonValue[] = value === undefined ? [] : [value];
  for (let depth = 0; ; depth++) {
    const next: JsonValue[] = [];
    for (const item of level) {
      if (item === null || typeof item !== 'object') continue;
      for (const child of Object.values(item)) if (child !== undefined) next.push(child);
    }
    if (next.length === 0) return depth;
    level = next;
  }
}

/** Printable ASCII without quotes and backslashes: stands in JSON as it is. */
const plainText = /^[ !#-[\]-~]*$/;

/** Most texts are plain, and most scalars are text: a call of JSON.stringify for each takes three times as long. */
const scalarJson = (value: string | number | boolean | null) =>
  typeof value === 'string' && plainText.test(value) ? `"${value}"` : JSON.stringify(value);

/** JSON with object keys sorted at every level: equal documents give equal text, for fingerprints. */
export function canonicalJson(value: JsonValue): string {
  if (value === null || typeof value !== 'object') return scalarJson(value);
  let text = '';
  if (Array.isArray(value)) {
    for (const item of value) text += `${text === '' ? '' : ','}${canonicalJson(item)}`;
    return `[${text}]`;
  }
  for (const key of Object.keys(value).sort()) {
    const field = value[key];
    if (field !== undefined) text += `${text === '' ? '' : ','}${scalarJson(key)}:${canonicalJson(field)}`;
  }
  return `{${text}}`;
}

/** A character takes 6 bytes at most: `\u0001`, or 3 as UTF-8. */
const bytesPerCharacter = 6;
const bytesPerNumber = 25;

/**
 * Whether the value has at most `limitBytes` as JSON in UTF-8. Small documents, nearly all, are told
 * by an estimate that never falls short; only what may be too large is written out.
 */
export function fitsAsJson(value: JsonValue, limitBytes: number): boolean {
  return bytesAtMost(value, limitBytes) <= limitBytes || jsonBytes(value) <= limitBytes;
}

export function jsonBytes(value: JsonValue): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}

/** Not less than the JSON has; given up soon after the limit. */
function bytesAtMost(value: JsonValue | undefined, limit: number): number {
  if (typeof value === 'string') return 2 + bytesPerCharacter * value.length;
  if (value === null || typeof value !== 'object') return bytesPerNumber;
  let bytes = 2;
  if (Array.isArray(value)) {
    for (const item of value) {
      bytes += 1 + bytesAtMost(item, limit);
      if (bytes > limit) break;
    }
    return bytes;
  }
  for (const key in value) {
    bytes += 4 + bytesPerCharacter * key.length + bytesAtMost(value[key], limit);
    if (bytes > limit) break;
  }
  return bytes;
}
