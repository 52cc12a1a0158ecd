import assert from 'node:assert/strict';
import { cancelInterleavings } from './interleavings-cancel.ts';
import { replayInterleaving, wakeInterleavings } from './interleavings-lease.ts';
import { lossInterleavings, snapshotInterleaving } from './interleavings-loss.ts';
import { Stage, type StoreFactory } from './stage.ts';

/** One named order of steps that once lost, doubled or revived a job (docs/protocol.md §5). */
export interface Interleaving {
  /** The name that docs/protocol.md gives it. */
  name: string;
  run(stage: Stage): Promise<void>;
}

/** All, in the order of the document. Every pair of stores must pass them all. */
export const interleavings: readonly Interleaving[] = [
  ...lossInterleavings,
  ...cancelInterleavings,
  ...wakeInterleavings,
  snapshotInterleaving,
  replayInterleaving,
];

/** Plays one interleaving on fresh stores; afterwards everything must end and the stores must agree. */
export async function play(interleaving: Interleaving, factory: StoreFactory): Promise<void> {
  const stage = await Stage.open(factory, interleaving.name);
  try {
    await interleaving.run(stage);
    const jobs = await stage.finish();
    for (const jobId of jobs.keys())
      assert((await stage.completions(jobId)) <= 1, `${jobId} was completed twice`);
  } finally {
    await stage.close();
  }
}
