import { isDeepStrictEqual } from 'node:util';
import type { Operation } from './history.conformance.ts';

export type Side = 'memory' | 'redis';
export type Pair<T> = Record<Side, T>;

/** The two brokers answered the same operation differently. */
export class Difference extends Error {
  readonly at: number;
  constructor(at: number, operation: Operation, answers: Pair<unknown>) {
    const show = (value: unknown) => JSON.stringify(value);
    super(
      `operation ${at}, ${show(operation)}\n  memory: ${show(answers.memory)}\n  redis:  ${show(answers.redis)}`,
    );
    this.at = at;
  }
}

/** Compares answers in which each side names the servers it has had, oldest first, by identities of its own. */
export function differ(answers: Pair<unknown>, identities: readonly Pair<string>[]): boolean {
  const plain = (side: Side) =>
    plainAnswer(
      answers[side],
      identities.map((each) => each[side]),
    );
  return !isDeepStrictEqual(plain('memory'), plain('redis'));
}

/** The answer with identities replaced by their numbers, and without what only one side tells. */
function plainAnswer(answer: unknown, identities: readonly string[]): unknown {
  let text = JSON.stringify(answer) ?? 'undefined';
  for (const [number, identity] of identities.entries())
    text = text.replaceAll(JSON.stringify(identity), `"identity ${number}"`);
  return text === 'undefined' ? null : JSON.parse(text.replace(/,"clockSteps":0\b/, ''));
}
