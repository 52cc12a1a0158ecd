import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { Job } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import type { FencingToken } from '#protocol/token.ts';
import { endInBroker } from './exit.ts';
import { noteRoom } from './held-back.ts';
import type { Hub } from './hub.ts';
import { tellMachine } from './tell.ts';

export interface Cancelled {
  /** `requested`: a machine runs it and has been told; or the Broker could not be asked, and the reconciler goes on. */
  state: 'cancelled' | 'requested';
  job: Job;
}

/**
 * Cancels a job: first `cancelRequestedAt` in Records, then the Broker, then the end in Records. A
 * completion committed earlier wins: CONFLICT.
 */
export async function cancelJob(hub: Hub, jobId: JobId, actor: string): Promise<Cancelled> {
  const asked = await hub.records.requestCancel({ jobId, actor, nowMs: hub.env.clock.now() });
  hub.poke.recorder();
  if (asked.kind === 'unknown')
    throw new EmpError('NOT_FOUND', { detail: `No job ${jobId} is known`, fields: { jobId } });
  if (asked.kind === 'tooLate') throw tooLate(jobId, asked.state);
  // Under the floor of the life that was asked about: the job may have been requeued since.
  const { fenceFloor } = asked;
  if (asked.kind === 'already' && asked.ended) {
    await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor });
    return { state: 'cancelled', job: await mustGet(hub, jobId) };
  }
  const state = await finishCancel(hub, { jobId, fenceFloor, actor });
  const job = await mustGet(hub, jobId);
  if (state === 'tooLate') throw tooLate(jobId, job.state);
  return { state, job };
}

/**
 * The steps of a cancel after its request is committed: by the verb, and by the reconciler for those
 * that a dying hub left half-way. A failing Broker leaves it `requested`.
 */
export async function finishCancel(
  hub: Hub,
  options: { jobId: JobId; fenceFloor: FencingToken; actor: string },
): Promise<'cancelled' | 'requested' | 'tooLate'> {
  const { jobId, fenceFloor, actor } = options;
  try {
    const answer = await hub.broker.cancel({ jobId, fenceFloor });
    if (answer.kind === 'requested') {
      const body = { jobId, reason: 'cancelled by request' };
      tellMachine(hub, { machine: answer.holder, notice: 'cancel', body });
      return 'requested';
    }
  } catch (error) {
    const failure = toEmpError(error, 'BROKER_UNAVAILABLE');
    hub.env.log.warn('broker.cancel.failed', { jobId, code: failure.code, detail: failure.message });
    hub.poke.reconciler();
    return 'requested';
  }
  const finished = await hub.records.finishCancel({ jobId, actor, nowMs: hub.env.clock.now() });
  hub.poke.recorder();
  noteRoom(hub);
  return finished.kind === 'cancelled' ? 'cancelled' : 'tooLate';
}

async function mustGet(hub: Hub, jobId: JobId): Promise<Job> {
  const job = await hub.records.getJob(jobId);
  if (job === null)
    throw new EmpError('NOT_FOUND', { detail: `No job ${jobId} is known`, fields: { jobId } });
  return job;
}

function tooLate(jobId: JobId, state: Job['state']): EmpError {
  return new EmpError('CONFLICT', {
    detail: `Job ${jobId} is ${state} already and cannot be cancelled`,
    fields: { jobId, state },
  });
}
