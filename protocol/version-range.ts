import { z } from 'zod';

/**
 * Ranges of versions, a small part of what npm understands: comparators with blanks between them, all
 * of which must hold. A version has one to three numbers (`1`, `1.4`, `1.4.2`); there are no
 * pre-releases, so that each range is one interval.
 *
 * | written | holds for |
 * | --- | --- |
 * | `1.4.2`, `=1.4.2` | exactly that version |
 * | `1`, `1.4` | every version that begins so |
 * | `^1.4` | 1.4.0 up to, not with, 2.0.0 (of a version 0.4: up to 0.5.0; of 0.0.4: up to 0.0.5) |
 * | `~1.4.2` | 1.4.2 up to, not with, 1.5.0 |
 * | `>=1.4`, `<2` | from 1.4.0 on; before 2.0.0 |
 * | `>1.4`, `<=1.4` | after every 1.4.x; up to the last 1.4.x |
 */
type Version = readonly [number, number, number];

/** From `from` on and, unless null, before `before`; nothing at all where `from` is null. */
interface Bounds {
  from: Version | null;
  before: Version | null;
}
type Interval = Bounds & { from: Version };

/** Largest number in a version. */
const partLimit = 999_999;
const numbers = /^(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$/;
const comparator = /^(\^|~|>=|<=|>|<|=)?(.+)$/;
const form = 'comparators such as >=1.4 <2, ^1.4, ~1.4.2 or 1.4 with blanks between them';

function numbersOf(text: string): number[] | null {
  const found = numbers.exec(text);
  if (found === null) return null;
  return found.slice(1).flatMap((part) => (part === undefined ? [] : [Number(part)]));
}

const full = (parts: readonly number[]): Version => [parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0];

/** The first version behind all that begin with the first `places` numbers of it; null where none is. */
function behind(parts: readonly number[], places: number): Version | null {
  const kept = parts.slice(0, places);
  while (kept.at(-1) === partLimit) kept.pop();
  const last = kept.pop();
  return last === undefined ? null : full([...kept, last + 1]);
}

function order(left: Version, right: Version): number {
  const at = left.findIndex((part, index) => part !== right[index]);
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

/** The places of a caret: up to the first number that is not 0, or to the last one given. */
function caretPlaces(parts: readonly number[]): number {
  const first = parts.findIndex((part) => part > 0);
  return first < 0 ? parts.length : first + 1;
}

function boundsOf(operator: string, parts: readonly number[]): Bounds {
  const given = parts.length;
  const from = full(parts);
  switch (operator) {
    case '^':
      return { from, before: behind(parts, caretPlaces(parts)) };
    case '~':
      return { from, before: behind(parts, Math.min(given, 2)) };
    case '>=':
      return { from, before: null };
    case '>':
      return { from: behind(parts, given), before: null };
    case '<':
      return { from: [0, 0, 0], before: from };
    case '<=':
      return { from: [0, 0, 0], before: behind(parts, given) };
    default:
      return { from, before: behind(parts, given) };
  }
}

/** The interval of a range, or what is wrong with its text. */
function parse(text: string): Interval | { fault: string } {
  let [from, before]: [Version, Version | null] = [[0, 0, 0], null];
  const words = text.trim().split(/\s+/);
  for (const word of words) {
    const [, operator = '=', version = ''] = comparator.exec(word) ?? [];
    const parts = numbersOf(version);
    if (parts === null) return { fault: `${JSON.stringify(word)} is not understood: write ${form}` };
    const own = boundsOf(operator, parts);
    if (own.from === null) return { fault: `no version is in ${JSON.stringify(word)}` };
    if (order(own.from, from) > 0) from = own.from;
    if (own.before !== null && (before === null || order(own.before, before) < 0)) before = own.before;
  }
  if (before !== null && order(from, before) >= 0)
    return { fault: `no version is in ${JSON.stringify(text)}: its comparators exclude each other` };
  return { from, before };
}

/** The range that was asked for last: one is held against one class after the other. */
let last: { range: string; interval: Interval } | null = null;

function parsed(range: string): Interval {
  if (last?.range === range) return last.interval;
  const interval = parse(range);
  if ('fault' in interval) throw new RangeError(interval.fault);
  last = { range, interval };
  return interval;
}

/** A range as a client writes it; refused with what to write. */
export const VersionRange = z
  .string()
  .min(1)
  .max(128)
  .superRefine((text, context) => {
    const interval = parse(text);
    if ('fault' in interval) context.addIssue({ code: 'custom', message: interval.fault });
  });
export type VersionRange = z.infer<typeof VersionRange>;

/** The one text of all ranges that hold for the same versions: `>=1.4.0 <2.0.0`. The range must be a `VersionRange`. */
export function canonicalRange(range: VersionRange): VersionRange {
  const { from, before } = parsed(range);
  const low = `>=${from.join('.')}`;
  return before === null ? low : `${low} <${before.join('.')}`;
}

/** True where the version is in the range. One that is not one to three numbers is in none. */
export function inRange(version: string, range: VersionRange): boolean {
  const parts = numbersOf(version);
  if (parts === null) return false;
  const { from, before } = parsed(range);
  const own = full(parts);
  return order(own, from) >= 0 && (before === null || order(own, before) < 0);
}
