import { EmpError, toEmpError } from '#protocol/errors.ts';
import { isTerminal } from '#protocol/job.ts';
import type { JobId } from '#protocol/names.ts';
import { compareTokens, type FencingToken } from '#protocol/token.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

export type HolderAnswer =
  /** This incarnation was given that lease. Whether it still stands is judged by the commit. */
  | { kind: 'holder'; attempts: number }
  /** The job has ended, or the token is fenced: whoever held it, nothing can be committed with it. */
  | { kind: 'late' }
  | { kind: 'foreign' };

/**
 * Whether a lease token was given to this very incarnation: by this hub over this link, or by what
 * the Broker or Records say of it. A token is a time and could be guessed, so it proves nothing
 * alone. Where the Broker lost the lease and Records have not heard of it yet, nobody can tell before
 * the machine's next beat is adopted: rejects with a retryable BROKER_UNAVAILABLE. `late` is for
 * those who end a lease alone: they learn from the commit how the job ended.
 */
export async function holdsLease(
  hub: Hub,
  machine: MachineLink,
  lease: { jobId: JobId; token: FencingToken },
): Promise<HolderAnswer> {
  const { jobId, token } = lease;
  const granted = machine.granted.get(jobId);
  if (granted?.token === token) return { kind: 'holder', attempts: granted.attempts };
  const view = await inspect(hub, jobId);
  if (view !== null && view.state === 'leased' && view.token === token) {
    const { holder, attempts } = view;
    const own = holder?.machineId === machine.machineId && holder.incarnation === machine.incarnation;
    if (!own) return { kind: 'foreign' };
    machine.granted.set(jobId, { token, group: view.group, attempts, run: null });
    return { kind: 'holder', attempts };
  }
  const row = await hub.records.getJob(jobId);
  if (row === null) return { kind: 'foreign' };
  if (isTerminal(row.state) || compareTokens(token, row.fenceFloor) < 0) return { kind: 'late' };
  const { runs } = await hub.records.timeline(jobId);
  const run = runs.find((each) => each.token === token);
  if (run === undefined) {
    throw new EmpError('BROKER_UNAVAILABLE', {
      detail: `Whose lease ${token} of job ${jobId} is cannot be told now: repeat after the next beat`,
      fields: { jobId },
    });
  }
  const own = run.machineId === machine.machineId && run.incarnation === machine.incarnation;
  return own ? { kind: 'holder', attempts: row.attempts } : { kind: 'foreign' };
}

async function inspect(hub: Hub, jobId: JobId) {
  try {
    return await hub.broker.inspect(jobId);
  } catch (error) {
    hub.env.log.warn('broker.inspect.failed', {
      jobId,
      detail: toEmpError(error, 'BROKER_UNAVAILABLE').message,
    });
    return null;
  }
}
