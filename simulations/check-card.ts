import { type Checker, Violation } from './observation.ts';

const name = 'I6: no card carries more than it can';

/**
 * Judged at the service itself: it never works on more runs at once than its card has slots, whatever
 * became of the runs before. A run that was fenced, dropped or cancelled holds its memory until the
 * service has let go of it.
 */
export function cardsHold(): Checker {
  const held = new Map<string, Set<string>>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'service') return;
      const runs = held.get(seen.process) ?? new Set<string>();
      held.set(seen.process, runs);
      const run = `${seen.jobId}.${seen.token}`;
      if (seen.change === 'ended') {
        runs.delete(run);
        return;
      }
      if (runs.has(run))
        throw new Violation(name, { jobId: seen.jobId, detail: `${seen.process} began ${run} twice` });
      runs.add(run);
      if (runs.size > seen.slots)
        throw new Violation(name, {
          jobId: seen.jobId,
          detail: `${seen.process} works on ${runs.size} runs with ${seen.slots} slots: ${[...runs].join(', ')}`,
        });
    },
  };
}
