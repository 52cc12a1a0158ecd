import type { ExitCause, RunPhase } from '#machines/job-run-base.ts';
import type { Assignment } from '#protocol/link.ts';
import { freeSlots, type Slot, type SlotView } from './slots.ts';

export interface RunEntry {
  /** Name of the run in the actor system. */
  name: string;
  assignment: Assignment;
  phase: RunPhase;
  slot: string | null;
  /** Its lease has ended: no longer named in beats, though its work may still be stopping. */
  dropped: boolean;
  /** It runs and is expected to end within the lead of staging. */
  nearEnd: boolean;
}

/** What the desk of a machine's runs knows: enough to say what is free, held and claimable. */
export interface Desk {
  slots: readonly Slot[];
  runs: Readonly<Record<string, RunEntry>>;
  upServices: readonly string[];
  usableDevices: readonly string[];
  draining: boolean;
  /** Services one of whose jobs found no room on the disk of this machine. */
  noRoom: readonly string[];
}

export const occupies = ({ phase }: RunEntry) => phase !== 'uploading' && phase !== 'ending';

/** The service works on it, whatever became of its lease. */
export const atWork = ({ phase }: RunEntry) =>
  phase === 'running' || phase === 'overdue' || phase === 'lingering';

/** Runs that have not ended for their jobs: a drain waits for these. */
export const unended = (desk: Desk) =>
  Object.values(desk.runs).filter((entry) => entry.phase !== 'lingering').length;

export function slotView(desk: Desk): SlotView {
  const taken = Object.values(desk.runs).flatMap((entry) =>
    entry.slot !== null && occupies(entry) ? [entry.slot] : [],
  );
  return {
    slots: desk.slots,
    taken: new Set(taken),
    upServices: new Set(desk.upServices),
    usableDevices: new Set(desk.usableDevices),
  };
}

/**
 * What may be claimed: free slots, and where a service has none one job to prepare ahead while one of
 * its runs is about to end. Nothing while draining, with `runsLimit` runs that have
 * not ended, or where the disk had no room: the next job of that service would only be given back, too.
 */
export function claimable(desk: Desk, runsLimit: number): { service: string; slots: number }[] {
  const free = freeSlots(slotView(desk));
  const entries = Object.values(desk.runs);
  if (desk.draining || entries.length >= runsLimit) return free.map(({ service }) => ({ service, slots: 0 }));
  return free.map(({ service, slots }) => {
    const own = entries.filter((entry) => entry.assignment.service === service && occupies(entry));
    const isStaged = own.some((entry) => entry.slot === null);
    if (desk.noRoom.includes(service)) return { service, slots: 0 };
    const mayStage = slots === 0 && !isStaged && own.some((entry) => entry.nearEnd);
    return { service, slots: mayStage ? 1 : slots };
  });
}

/** Services of which a job is prepared without a slot: the next one that comes free is that job's. */
export function stagedServices(desk: Desk): string[] {
  const waiting = Object.values(desk.runs).filter((entry) => occupies(entry) && entry.slot === null);
  return [...new Set(waiting.map((entry) => entry.assignment.service))];
}

/** What beats name: every lease that has not ended here. */
export function holdings(desk: Desk): { jobId: string; token: string }[] {
  return Object.values(desk.runs)
    .filter((entry) => !entry.dropped && entry.phase !== 'lingering')
    .map(({ assignment }) => ({ jobId: assignment.jobId, token: assignment.token }));
}

/** The runs with one of them changed; a run that is gone changes nothing. */
export function changeEntry(desk: Desk, run: string, change: Partial<RunEntry>): Desk['runs'] {
  const entry = desk.runs[run];
  return entry === undefined ? desk.runs : { ...desk.runs, [run]: { ...entry, ...change } };
}

/** An exit to report without running anything, or null. */
export function exitAtOnce(desk: Desk, { service }: Assignment): ExitCause | null {
  if (desk.draining) return { kind: 'release', reason: 'the machine is draining' };
  return desk.slots.some((slot) => slot.service === service)
    ? null
    : { kind: 'release', reason: `this machine offers no ${service}` };
}

/** Names of the runs of these jobs. */
export function names(desk: Desk, jobIds: readonly string[]): string[] {
  const runs = Object.values(desk.runs).filter((entry) => jobIds.includes(entry.assignment.jobId));
  return runs.map((entry) => entry.name);
}
