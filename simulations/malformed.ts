import { frameLimitBytes } from '#protocol/link.ts';
import type { Malformation } from './fault-script.ts';

/** Far above every number that a link reaches: nobody waits for its answer. */
const strangeId = 2 ** 31;

/**
 * A frame as it arrives from a peer that has a bug or another version. Where it comes besides the real
 * one it bears a strange number: answered twice under its own, a request would be refused before it is done.
 */
export function spoil(text: string, options: { how: Malformation; replaces: boolean }): string {
  const frame = JSON.parse(text) as Record<string, unknown>;
  const numbered = options.replaces || !('id' in frame) ? frame : { ...frame, id: strangeId };
  switch (options.how) {
    case 'cut short':
      return text.slice(0, Math.floor(text.length / 2));
    case 'not JSON':
      return `<html>${text.slice(0, 20)}`;
    case 'other version':
      return JSON.stringify({ ...numbered, v: 99 });
    case 'unknown type':
      return JSON.stringify({ ...numbered, type: 'greetings' });
    case 'unknown field':
      return JSON.stringify({ ...numbered, body: { ...(frame['body'] as object), surprise: 1 } });
    case 'answer to nobody':
      return JSON.stringify({ v: frame['v'], re: strangeId, body: {} });
    case 'too long':
      return `${text}${' '.repeat(frameLimitBytes)}`;
  }
}

/** The greeting opens a link and the farewell ends it, each once; answers go by what was asked. */
const repeatable = /^\{"v":\d+,(?:"id":\d+,)?"type":"(?!hello"|leave")/;

/** Whether the protocol of machines must stand this frame twice: requests are repeated, notices are hints. */
export function mayRepeat(text: string, direction: 'up' | 'down'): boolean {
  return repeatable.test(text) && (direction === 'up' || !text.startsWith('{"v":1,"id"'));
}
