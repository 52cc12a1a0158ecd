import { type Checker, Violation } from './observation.ts';

const name = 'no model is taken from under a run';

/**
 * A model that a run needs stays on the machine from the moment when it is there for the run to its end:
 * it lies on the disk when the service begins, and is not evicted while the service works with it.
 */
export function modelsStay(): Checker {
  /** By process: the models of the runs at work. */
  const used = new Map<string, Map<string, readonly string[]>>();
  return {
    name,
    observe(seen) {
      if (seen.kind === 'evicted') {
        for (const [run, models] of used.get(seen.process) ?? [])
          if (models.includes(seen.modelId))
            throw new Violation(name, {
              detail: `${seen.process} evicted ${seen.modelId}, with which ${run} is at work`,
            });
      }
      if (seen.kind !== 'service') return;
      const runs = used.get(seen.process) ?? new Map<string, readonly string[]>();
      used.set(seen.process, runs);
      const run = `${seen.jobId}.${seen.token}`;
      if (seen.change === 'ended') {
        runs.delete(run);
        return;
      }
      runs.set(run, seen.models);
      if (seen.missing.length > 0)
        throw new Violation(name, {
          jobId: seen.jobId,
          detail: `${seen.process} began ${run} without ${seen.missing.join(', ')}, which it had been promised`,
        });
    },
  };
}
