import { backoffMs } from '#machines/policy/backoff.ts';
import { toEmpError } from '#protocol/errors.ts';
import { isTerminal, type JobState } from '#protocol/job.ts';
import type { LinkBody } from '#protocol/link.ts';
import { type JobId, type MachineRef, machineKey } from '#protocol/names.ts';
import type { ExitCause } from '#protocol/records.ts';
import { type FencingToken, tokenAfter } from '#protocol/token.ts';
import { noteRoom } from './held-back.ts';
import { holdsLease } from './holder.ts';
import type { Hub } from './hub.ts';
import { endGrant, type MachineLink } from './links.ts';

export interface LeaseExit {
  jobId: JobId;
  token: FencingToken;
  cause: ExitCause;
  holder: MachineRef;
  /** `sweeper`, `reconciler` or `machine/incarnation`, for the timeline. */
  actor: string;
}

export type LeaseExitAnswer =
  | { kind: 'ok'; state: JobState /** The Broker's entry moved or is gone. */; moved: boolean }
  | { kind: 'unknown' };

/**
 * Ends a lease in any way but completion: first the row with its raised floor, then the Broker with
 * the row's present state. A token below the floor is no error: the Broker step is done all the same,
 * because the hub that committed that exit may have died before its own. Rejects with
 * RECORDS_UNAVAILABLE, and then nothing has happened; a Broker that fails after the commit is left to
 * the sweeper, which meets the same lease again.
 */
export async function exitLease(hub: Hub, exit: LeaseExit): Promise<LeaseExitAnswer> {
  const { jobId, token, cause, holder, actor } = exit;
  const { machineId, incarnation } = holder;
  const nowMs = hub.env.clock.now();
  const link = hub.links.find(holder);
  const group = link?.granted.get(jobId)?.group;
  if (link !== null) endGrant(link, jobId);
  const row = await hub.records.exitJob({
    jobId,
    token,
    cause,
    holder: { machineId, incarnation },
    actor,
    nowMs,
  });
  hub.poke.recorder();
  if (row.kind === 'unknown') {
    await endInBroker(hub, { jobId, token, fenceFloor: tokenAfter(token) });
    return row;
  }
  const { state, fenceFloor, notBeforeMs } = row;
  if (row.limited) noteRoom(hub);
  // Ended before: by the row's word alone, as a tombstone would keep a token that somebody guessed.
  if (!row.applied && isTerminal(state))
    return { kind: 'ok', state, moved: await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor }) };
  // Out of the Broker until it is let in. Buried at its floor: a re-drive that was read before must not bring
  // it back, and its admission comes under a higher one.
  if (state === 'held') {
    hub.poke.admitter();
    return { kind: 'ok', state, moved: await endInBroker(hub, { jobId, token: fenceFloor, fenceFloor }) };
  }
  try {
    const { attempts, runs, cancelRequested } = row;
    const request = { jobId, token, fenceFloor, state, attempts, runs, notBeforeMs, cancelRequested };
    const answer = await hub.broker.exit(request);
    if (answer.kind === 'requeued') {
      if (group !== undefined && state === 'waiting') hub.groups.noteWork(group);
      hub.wake(answer.wake, hub.groups.busiest());
      if (state === 'scheduled') hub.poke.promoter(notBeforeMs);
    }
    if (answer.kind === 'cancelled')
      await hub.records.finishCancel({ jobId, actor, nowMs: hub.env.clock.now() });
    return { kind: 'ok', state, moved: answer.kind !== 'unchanged' };
  } catch (error) {
    const failure = toEmpError(error, 'BROKER_UNAVAILABLE');
    hub.env.log.warn('broker.exit.failed', { jobId, code: failure.code, detail: failure.message });
    hub.poke.reconciler();
    return { kind: 'ok', state, moved: false };
  }
}

/** Floor under which an id that Records call ended goes. A row that is gone names none: that of the entry itself. */
export async function floorOfEnded(
  hub: Hub,
  ended: { jobId: JobId; fenceFloor: FencingToken; known: boolean },
): Promise<FencingToken> {
  if (ended.known) return ended.fenceFloor;
  return (await hub.broker.inspect(ended.jobId))?.fenceFloor ?? ended.fenceFloor;
}

/**
 * Removes an ended id from the Broker, whatever it says of it; true if it was there. A Broker that
 * fails is reconciled later.
 */
export async function endInBroker(
  hub: Hub,
  end: { jobId: JobId; token: FencingToken; fenceFloor: FencingToken },
): Promise<boolean> {
  try {
    return (await hub.broker.complete(end)).kind === 'removed';
  } catch (error) {
    const failure = toEmpError(error, 'BROKER_UNAVAILABLE');
    hub.env.log.warn('broker.end.failed', { jobId: end.jobId, code: failure.code, detail: failure.message });
    hub.poke.reconciler();
    return false;
  }
}

/** A machine gives a job back: failed, released or cancelled. */
export async function exitForMachine(
  hub: Hub,
  machine: MachineLink,
  body: LinkBody<'exit'>,
): Promise<{ kind: 'ok' | 'unknown' }> {
  const held = await holdsLease(hub, machine, body);
  if (held.kind === 'foreign') return { kind: 'unknown' };
  const cause = exitCause(hub, body.cause, held.kind === 'holder' ? held.attempts : 0);
  const actor = machineKey(machine);
  const answer = await exitLease(hub, {
    jobId: body.jobId,
    token: body.token,
    cause,
    holder: machine,
    actor,
  });
  return { kind: answer.kind };
}

/** A failure backs off by the tries used up, this one included; a permanent one is not tried again. */
function exitCause(hub: Hub, cause: LinkBody<'exit'>['cause'], attempts: number): ExitCause {
  if (cause.kind !== 'fail') return cause;
  if (!cause.error.retryable) return { kind: 'fail', error: cause.error, notBeforeMs: null };
  const { retryBaseMs: baseMs, retryLimitMs: limitMs } = hub.config;
  const delayMs = backoffMs(attempts + 1, { baseMs, limitMs }, hub.env.rng);
  return {
    kind: 'fail',
    error: cause.error,
    notBeforeMs: delayMs === 0 ? null : hub.env.clock.now() + delayMs,
  };
}
