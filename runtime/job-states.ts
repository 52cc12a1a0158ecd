import type { JobState } from '#protocol/job.ts';

/** The states as words to type; the schema would bring a validator into every start of `emp`. A test compares. */
export const JOB_STATES = [
  'scheduled',
  'held',
  'waiting',
  'leased',
  'succeeded',
  'failed',
  'cancelled',
  'dead',
] as const satisfies readonly JobState[];

const ENDED: readonly JobState[] = ['succeeded', 'failed', 'cancelled', 'dead'];

export function hasEnded(state: JobState): boolean {
  return ENDED.includes(state);
}
