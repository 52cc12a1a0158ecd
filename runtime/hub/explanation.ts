import type { Unmet } from '#machines/policy/matching.ts';
import type { JobState } from '#protocol/job.ts';
import type { MachineId } from '#protocol/names.ts';
import type { Requirements } from '#protocol/requirements.ts';

/** Why a job is where it is, and what would move it: for people. Nothing decides by it. */
export interface Explanation {
  jobId: string;
  state: JobState;
  /** The answer in sentences, what matters most first. */
  summary: string[];
  needs: { service: string; pool: string; models: string[]; requirements: Requirements };
  /** Machines that joined within the last hour, those nearest to running the job first, at most `machinesShown`. */
  machines: MachineVerdict[];
  counts: { considered: number; fit: number; linked: number; free: number };
  /** Null unless it waits in the Broker. */
  ahead: Ahead | null;
  /** Null where nothing says when: it has started, or nothing that may run it is there. */
  expectedStart: { inMs: number; basis: string } | null;
  /** Of the last claim, once it is recorded. */
  choice: Choice | null;
}

/** How near a machine is to running the job. */
export type Verdict =
  /** It has the job. */
  | 'holds'
  /** It fits and has a free slot. */
  | 'free'
  /** It fits and all its slots work. */
  | 'busy'
  /** It fits, and an operator has cordoned or drained it. */
  | 'closed'
  /** It fits, and no hub has a link to it. */
  | 'away'
  | 'unfit';

export interface MachineVerdict {
  machineId: MachineId;
  pool: string;
  verdict: Verdict;
  /** What it lacks; empty unless `unfit`. */
  unmet: Unmet[];
  running: number;
  /** Of the job's first model; null where it needs none. */
  model: 'resident' | 'fetching' | 'absent' | null;
}

export interface Ahead {
  inLane: number;
  inGroup: number;
  /** Jobs that lead the lanes before it, first to go first. */
  leaders: { jobId: string; customer: string; priority: number; model: string | null; why: string }[];
}

export interface Choice {
  machineId: MachineId;
  run: number;
  /** From when it could last be begun to the claim, ms: runtime/job-waits.ts. */
  waitedMs: number;
  bonusMs: number;
  penaltyMs: number;
}

export const machinesShown = 50;

const nearest: Verdict[] = ['holds', 'free', 'busy', 'closed', 'away', 'unfit'];

/** Nearest first; of equals those that have the model, then those with less to do, then by name. */
export function byNearness(one: MachineVerdict, other: MachineVerdict): number {
  const of = ({ verdict, model, running, unmet }: MachineVerdict) => [
    nearest.indexOf(verdict),
    unmet.length,
    ['resident', 'fetching', 'absent', null].indexOf(model),
    running,
  ];
  const [left, right] = [of(one), of(other)];
  const at = left.findIndex((value, index) => value !== right[index]);
  if (at >= 0) return (left[at] ?? 0) - (right[at] ?? 0);
  return one.machineId < other.machineId ? -1 : 1;
}

/**
 * When a job starts if slots are given to those ahead of it one by one, each as soon as one is free:
 * `freeInMs` of each slot from now, `ahead` jobs of `expectedMs` each. Null without a slot.
 */
export function startAfter(options: {
  freeInMs: readonly number[];
  ahead: number;
  expectedMs: number;
}): number | null {
  const slots = options.freeInMs.toSorted((one, other) => one - other);
  if (slots.length === 0) return null;
  // Whole rounds of all slots first: a queue of a million need not be walked.
  const rounds = Math.max(0, Math.floor(options.ahead / slots.length) - slots.length);
  for (let left = options.ahead - rounds * slots.length; left > 0; left--) {
    const first = (slots.shift() ?? 0) + options.expectedMs;
    const at = slots.findIndex((free) => free > first);
    slots.splice(at < 0 ? slots.length : at, 0, first);
  }
  return Math.round((slots[0] ?? 0) + rounds * options.expectedMs);
}
