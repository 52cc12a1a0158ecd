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

/** JSON with object keys sorted at every level: equal documents give equal text, for fingerprints. */
export function canonicalJson(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const fields = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] as JsonValue)}`);
  return `{${fields.join(',')}}`;
}
