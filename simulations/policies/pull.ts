import { fits, kindWeight, prepareOn, windowJobs } from './costs.ts';
import type { FleetMachine, FleetView, Policy, PolicyMaker, WaitingJob } from './policy.ts';

/** The machine that has been idle longest among those that `may` take the job. */
export function longestIdle(view: FleetView, may: (machine: FleetMachine) => boolean): string | null {
  let best: FleetMachine | null = null;
  for (const machine of view.machines.values()) {
    if (machine.idleSinceMs === null || machine.draining || !may(machine)) continue;
    if (best === null || machine.idleSinceMs < (best.idleSinceMs ?? 0)) best = machine;
  }
  return best?.plan.id ?? null;
}

function pullWhere(
  name: string,
  may: (view: FleetView, machine: FleetMachine, waiting: WaitingJob) => boolean,
): Policy {
  return {
    name,
    choose(view, machine) {
      for (const [jobId, waiting] of view.waiting) if (may(view, machine, waiting)) return jobId;
      return null;
    },
    place: (view, waiting) => longestIdle(view, (machine) => may(view, machine, waiting)),
  };
}

/** The whole queue in order of arrival, models fetched when a job needs them: what operators have today. */
export const fifo: PolicyMaker = ({ models }) =>
  pullWhere('fifo', (_view, machine, { job }) => fits(machine.plan, job, models));

/** As `fifo`, but a machine takes jobs of its own pool alone. A job that no machine of its pool can hold goes to any. */
export const pools: PolicyMaker = ({ models, machines }) => {
  const held = new Map<string, boolean>();
  const poolHolds = (pool: string, vramMb: number) => {
    const key = `${pool}/${vramMb}`;
    let known = held.get(key);
    if (known === undefined) {
      known = machines.some((machine) => machine.pool === pool && machine.vramMb >= vramMb);
      held.set(key, known);
    }
    return known;
  };
  return pullWhere(
    'pools',
    (_view, { plan }, { job }) =>
      fits(plan, job, models) && (plan.pool === job.pool || !poolHolds(job.pool, job.vramMb)),
  );
};

const ageWeight = 0.5;

/**
 * Pull by cost: a machine takes the job that it can begin soonest, less a share of the job's age; a new
 * job goes to the idle machine that can begin it soonest.
 */
export const affinity: PolicyMaker = ({ models }) => ({
  name: 'affinity',
  choose(view, machine) {
    let best: { jobId: string; cost: number } | null = null;
    let looked = 0;
    for (const [jobId, { job, arrivedMs }] of view.waiting) {
      if (!fits(machine.plan, job, models)) continue;
      const age = (view.nowMs - arrivedMs) * kindWeight[job.kind];
      const cost = prepareOn(machine, job, models) - ageWeight * age;
      if (best === null || cost < best.cost) best = { jobId, cost };
      if (++looked === windowJobs) break;
    }
    return best?.jobId ?? null;
  },
  place(view, { job }) {
    let best: { machineId: string; cost: number } | null = null;
    for (const machine of view.machines.values()) {
      if (machine.idleSinceMs === null || machine.draining || !fits(machine.plan, job, models)) continue;
      const cost = prepareOn(machine, job, models) + job.runMs / machine.plan.speed;
      if (best === null || cost < best.cost) best = { machineId: machine.plan.id, cost };
    }
    return best?.machineId ?? null;
  },
});
