import { describe, expect, test } from 'vitest';
import { createActor, fromCallback, fromPromise, setup } from 'xstate';
import { missingActors, unprovided, unprovidedCallback } from './unprovided.ts';

const inner = setup({ actors: { dig: unprovided<void, void>() } }).createMachine({ id: 'inner' });
const outer = setup({
  actors: { claim: unprovided<void, void>(), follow: unprovidedCallback<{ type: 'x' }, void>(), inner },
}).createMachine({ id: 'outer' });

describe('missingActors', () => {
  test('names every effect that nobody provided, also of charts within', () => {
    expect(missingActors(outer)).toEqual(['outer.claim', 'outer.follow', 'inner.dig']);
  });

  test('is empty once all are provided', () => {
    const provided = outer.provide({
      actors: {
        claim: fromPromise<void, void>(async () => undefined),
        follow: fromCallback(() => undefined),
        inner: inner.provide({ actors: { dig: fromPromise<void, void>(async () => undefined) } }),
      },
    });
    expect(missingActors(provided)).toEqual([]);
  });

  test('an effect that runs all the same fails by saying so', () => {
    const root = createActor(unprovided<void, void>());
    const errors: unknown[] = [];
    root.subscribe({ error: (error) => errors.push(error) });
    root.start();
    return Promise.resolve().then(() => expect(String(errors[0])).toContain('missingActors'));
  });
});
