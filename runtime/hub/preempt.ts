import { machineMeets } from '#machines/policy/matching.ts';
import { choosePreemptions, type Preemption } from '#machines/policy/preemption.ts';
import type { Job } from '#protocol/job.ts';
import type { JobId, MachineRef } from '#protocol/names.ts';
import type { MachineRow } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';
import { tellMachine } from './tell.ts';
import { wakeUnnamed } from './wake.ts';

/** Waiting jobs, and runs, that one pass looks at. */
const lookedAt = 50;
/** A job that has been begun so often is left to run: it may have 20 runs. */
const runsOfVictim = 10;

/** What was asked back and for whom, so that nobody is asked twice while a run ends and its slot is claimed. */
export class Preemptions {
  readonly #atMs = new Map<JobId, number>();

  /** Whether this job is neither victim nor reason of something asked within the last `forMs`. */
  isOpen(jobId: JobId, { nowMs, forMs }: { nowMs: number; forMs: number }): boolean {
    const atMs = this.#atMs.get(jobId);
    return atMs === undefined || nowMs - atMs >= forMs;
  }

  note(jobIds: readonly JobId[], { nowMs, forMs }: { nowMs: number; forMs: number }): void {
    for (const [jobId, atMs] of this.#atMs) if (nowMs - atMs >= forMs) this.#atMs.delete(jobId);
    for (const jobId of jobIds) this.#atMs.set(jobId, nowMs);
  }
}

/** A job that an idle machine leaves to another needs no run given back: that machine takes it. */
function endHold(hub: Hub, job: Job): boolean {
  if (!hub.holds.end(hub, job)) return false;
  wakeUnnamed(hub, job.group);
  return true;
}

/** A job with its place in the order, of which the Broker alone knows. */
interface Placed {
  job: Job;
  rank: number;
}

/**
 * Asks machines to give preemptible runs back for waiting jobs that are more urgent by the margin and have
 * waited a while. The run is released: no attempt, its old place. Advice only: a machine that does not
 * hear it, or ends the run first, changes nothing.
 */
export async function preempt(hub: Hub, role: RoleLease, told: Preemptions): Promise<void> {
  if (role.current() === null) return;
  const { urgent, running } = await hub.records.preemption({ limit: lookedAt });
  if (urgent.length === 0) return;
  const { clock } = hub.env;
  const asked = { nowMs: clock.monotonic(), forMs: hub.config.leaseTtlMs };
  const longEnough = clock.now() - hub.config.preemptAfterMs;
  const isNew = ({ id }: Job) => told.isOpen(id, asked);
  const waiting = await placed(
    hub,
    urgent.filter((job) => isNew(job) && job.submittedAtMs <= longEnough && !endHold(hub, job)),
    'waiting',
  );
  const runs = await placed(
    hub,
    running.filter((job) => isNew(job) && job.runs < runsOfVictim),
    'leased',
  );
  if (waiting.length === 0 || runs.length === 0) return;
  const machines = await machinesOf(hub, runs);
  const jobs = new Map(runs.map(({ job }) => [job.id, job]));
  const groups = new Map(waiting.map(({ job }) => [job.id, hub.groups.get(job.group)]));
  const services = new Map(waiting.map(({ job }) => [job.id, job.service]));
  const chosen = choosePreemptions({
    urgent: waiting.map(({ job, rank }) => ({ jobId: job.id, rank })),
    running: runs.map(({ job, rank }) => ({ jobId: job.id, rank, progress: job.progress })),
    marginMs: hub.config.preemptMarginMs,
    mayTake: (jobId, { jobId: runId }) => {
      const job = jobs.get(runId);
      const machine = machines.get(job?.machineId ?? '');
      const sameSlots = job !== undefined && job.service === services.get(jobId);
      return sameSlots && machine !== undefined && mayTake(machine, job, groups.get(jobId) ?? null);
    },
  });
  for (const pair of chosen) await ask(hub, pair, jobs);
  told.note(
    chosen.flatMap(({ jobId, forJobId }) => [jobId, forJobId]),
    asked,
  );
}

/** Those that the Broker has in this state, with how far each is ahead of its pool's clock. */
async function placed(hub: Hub, jobs: readonly Job[], state: 'waiting' | 'leased'): Promise<Placed[]> {
  const found: Placed[] = [];
  for (const job of jobs) {
    const view = await hub.broker.inspect(job.id);
    if (view?.state === state) found.push({ job, rank: view.score - view.clockMs });
  }
  return found;
}

async function machinesOf(hub: Hub, runs: readonly Placed[]): Promise<Map<string, MachineRow>> {
  const machines = new Map<string, MachineRow>();
  for (const machineId of new Set(runs.map(({ job }) => job.machineId ?? ''))) {
    const row = await hub.records.getMachine(machineId);
    if (row !== null) machines.set(machineId, row);
  }
  return machines;
}

/** Whether the slot that comes free there would be claimed for the group. */
function mayTake(machine: MachineRow, job: Job, group: Group | null): boolean {
  const { state, cordoned, draining, incarnation } = machine;
  const isThere = state === 'joined' && !cordoned && !draining && incarnation === job.incarnation;
  return isThere && group !== null && machineMeets(machine, group);
}

async function ask(hub: Hub, { jobId, forJobId }: Preemption, jobs: ReadonlyMap<JobId, Job>): Promise<void> {
  const { token, machineId, incarnation } = jobs.get(jobId) ?? {};
  if (!token || !machineId || !incarnation) return;
  const machine: MachineRef = { machineId, incarnation };
  const reason = `preempted: job ${forJobId} is more urgent`;
  if (!tellMachine(hub, { machine, notice: 'preempt', body: { jobId, reason } })) return;
  const data = { token, machineId, incarnation, for: forJobId };
  const atMs = hub.env.clock.now();
  await hub.records.appendEvent({ type: 'job.preempted', jobId, machineId, data, atMs });
  hub.poke.recorder();
}
