import { describe, expect, test } from 'vitest';
import { interleavings, play } from './interleavings.ts';
import { stageTtlMs } from './stage.ts';
import { embeddedStores } from './stores-embedded.ts';

/** Every pair of stores plays the same scenarios; a pair on servers has its own file beside this one. */
const factory = embeddedStores({ leaseTtlMs: stageTtlMs });

describe(`interleavings on ${factory.name}`, () => {
  test.each(interleavings.map((each) => [each.name, each] as const))('%s', async (_name, interleaving) => {
    await play(interleaving, factory);
  });

  test('all of docs/protocol.md are played', () => {
    expect(interleavings.map((each) => each.name).sort()).toEqual(
      [
        'counter-overtaken',
        'loss-during-reconcile',
        'beat-before-redrive',
        'expiry-rolled-back',
        'claim-lost-before-recorder',
        'complete-rolled-back',
        'cancel-crash-after-removed',
        'cancel-between-exit-commit-and-exit-broker',
        'cancel-overtakes-submit',
        'submit-retry-after-cancel-and-release',
        'requeue-during-stalled-dead',
        'requeue-before-exit-of-cancelled',
        'requeue-inside-repeated-cancel',
        'wake-to-the-dead',
        'two-stale-beats-after-claim',
        'submit-snapshot-across-rebuild',
        'replayed-claim-after-expiry',
      ].sort(),
    );
  });
});
