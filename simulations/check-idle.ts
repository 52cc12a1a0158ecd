import type { BeatAnswer, BeatRequest } from '#protocol/broker.ts';
import { type MachineRef, machineKey } from '#protocol/names.ts';
import { endedBy } from './ended-by.ts';
import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'I8: waiting work meets an idle fit machine in time';

interface Machine {
  /** Since when it offers a slot for each group, ms. */
  since: Map<string, number>;
  lastBeatMs: number;
}

interface Waiting {
  group: string;
  sinceMs: number;
}

export interface IdleLimits {
  /** Time of the observations, ms. */
  nowMs: () => number;
  leaseTtlMs: number;
  beatMs: number;
}

/**
 * From the moment when all faults are healed: a job that could be claimed and a machine that offers a
 * slot for its group do not wait for each other longer than `limitMs`, three beats of the machine. What
 * went through a loss of the Broker waits one lease time more, by the rule. Times begin anew whenever
 * somebody claims, leaves or changes its offer.
 */
export function idleServed(limits: IdleLimits): Checker {
  const limitMs = 3 * limits.beatMs;
  const machines = new Map<string, Machine>();
  const waiting = new Map<string, Waiting>();
  let healed = false;
  let claimableFromMs = Number.POSITIVE_INFINITY;

  const groups = new Map<string, string>();
  const waits = (jobId: string) => {
    const group = groups.get(jobId);
    if (group !== undefined) waiting.set(jobId, { group, sinceMs: limits.nowMs() });
  };
  const beat = (request: BeatRequest, answer: BeatAnswer) => {
    const key = machineKey(request);
    if (answer.kind !== 'ok') return void machines.delete(key);
    // Work that a machine names and may keep was adopted after a loss, if no claim gave it here.
    for (const { jobId } of request.running) if (!answer.drop.includes(jobId)) waiting.delete(jobId);
    const known = machines.get(key)?.since;
    const nowMs = limits.nowMs();
    const since = new Map(request.groups.map(({ group }) => [group, known?.get(group) ?? nowMs]));
    machines.set(key, { since, lastBeatMs: nowMs });
  };
  const judge = () => {
    const nowMs = limits.nowMs();
    for (const [jobId, job] of waiting) {
      const readyMs = Math.max(job.sinceMs, claimableFromMs);
      if (nowMs - readyMs <= limitMs) continue;
      for (const [key, { since, lastBeatMs }] of machines) {
        const idleMs = nowMs - Math.max(since.get(job.group) ?? nowMs, readyMs);
        if (idleMs <= limitMs || nowMs - lastBeatMs > 2 * limits.beatMs) continue;
        const detail = `${jobId} has waited ${Math.round(idleMs)} ms beside ${key}, which is idle and fits`;
        throw new Violation(name, { jobId, detail });
      }
    }
  };
  const machineMoved = (ref: MachineRef) => machines.delete(machineKey(ref));

  return {
    name,
    observe(seen) {
      if (seen.kind === 'healed') {
        healed = true;
        machines.clear();
        for (const job of waiting.values()) job.sinceMs = limits.nowMs();
      }
      if (seen.kind === 'brokerLost') claimableFromMs = Number.POSITIVE_INFINITY;
      // Nobody need claim what has ended, and a Broker that lost it is never told so.
      for (const jobId of endedBy(seen)) waiting.delete(jobId);
      if (seen.kind !== 'broker') return;
      if (seen.method === 'reconcileFinish' && seen.answer.kind === 'open')
        claimableFromMs = limits.nowMs() + limits.leaseTtlMs;
      if (seen.method === 'beat') beat(seen.args[0], seen.answer);
      if (seen.method === 'beats')
        for (const [index, request] of seen.args[0].entries()) {
          const answer = seen.answer.answers[index];
          if (answer) beat(request, answer);
        }
      if (seen.method === 'leave' || seen.method === 'shorten') machineMoved(seen.args[0]);
      noteJobs(seen, { groups, waiting, waits, machineMoved });
      if (healed) judge();
    },
  };
}

/** Which jobs could be claimed now, as far as the calls of the Broker tell. */
function noteJobs(
  seen: Extract<Observation, { kind: 'broker' }>,
  notes: {
    groups: Map<string, string>;
    waiting: Map<string, Waiting>;
    waits: (jobId: string) => void;
    machineMoved: (ref: MachineRef) => void;
  },
): void {
  const { groups, waiting, waits, machineMoved } = notes;
  switch (seen.method) {
    case 'submit': {
      if (seen.answer.kind !== 'ok') return;
      for (const [index, entry] of seen.args[0].entries.entries()) {
        if (seen.answer.answers[index]?.kind !== 'added') continue;
        groups.set(entry.jobId, entry.group);
        if (entry.notBeforeMs === null && entry.lease === null) waits(entry.jobId);
      }
      return;
    }
    case 'claim':
      if (seen.answer.kind === 'leased') waiting.delete(seen.answer.lease.jobId);
      machineMoved(seen.args[0]);
      return;
    case 'promote':
      for (const jobId of seen.answer.promoted) waits(jobId);
      return;
    case 'exit':
      waiting.delete(seen.args[0].jobId);
      if (seen.answer.kind === 'requeued' && seen.args[0].notBeforeMs === null) waits(seen.args[0].jobId);
      return;
    case 'complete':
    case 'cancel':
      waiting.delete(seen.args[0].jobId);
      return;
    default:
  }
}
