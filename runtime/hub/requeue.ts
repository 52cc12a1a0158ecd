import { EmpError } from '#protocol/errors.ts';
import type { Job } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import { driveRows } from './drive.ts';
import type { Hub } from './hub.ts';

/**
 * Gives a failed, cancelled or dead job another life: its fence floor rises above all that anybody
 * may remember of it, so that nothing of its former lives can end it. Throws NOT_FOUND, or CONFLICT with the state that forbids it.
 */
export async function requeueJob(hub: Hub, jobId: JobId, actor: string): Promise<Job> {
  const identity = await hub.identity.get();
  const answer = await hub.records.requeueJob({ jobId, actor, nowMs: hub.env.clock.now() });
  hub.poke.recorder();
  switch (answer.kind) {
    case 'requeued':
      if (answer.job.state === 'held') hub.poke.admitter();
      await driveRows(hub, { rows: [answer.job], identity });
      return answer.job;
    case 'unknown':
      throw new EmpError('NOT_FOUND', { detail: `No job ${jobId} is known`, fields: { jobId } });
    case 'succeeded':
      throw new EmpError('CONFLICT', {
        detail: `Job ${jobId} succeeded: submit it again under a new id to repeat it`,
        fields: { jobId },
      });
    case 'notTerminal':
      throw new EmpError('CONFLICT', {
        detail: `Job ${jobId} is ${answer.state}: only failed, cancelled and dead jobs are requeued`,
        fields: { jobId, state: answer.state },
      });
  }
}
