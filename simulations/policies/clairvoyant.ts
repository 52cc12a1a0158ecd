import type { PlannedJob, PlannedMachine } from '#simulations/day/plan.ts';
import { fits } from './costs.ts';
import { planFirsts } from './planner.ts';
import type { Copy, FleetMachine, FleetView, PolicyMaker, PolicyWorld } from './policy.ts';

/** How far ahead arrivals are looked at for copies, ms: about what a large model takes to arrive. */
const horizonMs = 900_000;
/** Share of its time that a copy is meant to be busy. */
const copyBusyShare = 0.5;
/** Copies that one arrival may order. */
const copiesLimit = 2;

/**
 * Knows the day: run times, arrivals, and when each machine goes. It plans by earliest end at every
 * claim, gives no job to a machine that will be gone, and fetches models before the jobs that need
 * them. A schedule found with full knowledge, not a proven optimum: Y1 is measured against it, and
 * flatters by what a better search would find.
 */
export const clairvoyant: PolicyMaker = (world) => {
  const { models } = world;
  const endOf = (machine: PlannedMachine) =>
    machine.ending === 'stays' ? Number.POSITIVE_INFINITY : (machine.away?.fromMs ?? machine.endMs);
  const demand = new Demand(world);
  const firsts = (view: FleetView) => planFirsts(view, { models, endOf });
  return {
    name: 'clairvoyant',
    choose: (view, machine) => firsts(view).get(machine.plan.id) ?? null,
    place(view, { job }) {
      for (const [machineId, jobId] of firsts(view)) {
        if (jobId !== job.id) continue;
        return (view.machines.get(machineId)?.idleSinceMs ?? null) === null ? null : machineId;
      }
      return null;
    },
    copies: (view) => demand.copies(view, endOf),
  };
};

/** What is to come, by base model. */
class Demand {
  readonly #world: PolicyWorld;
  /** Jobs up to here have been counted in; those before `#from` have left again. */
  #to = 0;
  #from = 0;
  readonly #runMs = new Map<string, number>();

  constructor(world: PolicyWorld) {
    this.#world = world;
  }

  copies(view: FleetView, endOf: (machine: PlannedMachine) => number): Copy[] {
    this.#slide(view.nowMs);
    const wanted: Copy[] = [];
    for (const [modelId, runMs] of this.#runMs) {
      const copies = Math.max(1, Math.ceil(runMs / (horizonMs * copyBusyShare)));
      const present = [...view.machines.values()].filter(
        (machine) => machine.onDisk.has(modelId) || machine.copying.has(modelId) || fetches(machine, modelId),
      ).length;
      if (present >= copies) continue;
      const machine = this.#bestFor(view, modelId, endOf);
      if (machine !== null) wanted.push({ machineId: machine.plan.id, modelId });
      if (wanted.length === copiesLimit) break;
    }
    return wanted;
  }

  #slide(nowMs: number): void {
    const { jobs } = this.#world;
    for (; (jobs[this.#to]?.atMs ?? Number.POSITIVE_INFINITY) < nowMs + horizonMs; this.#to++)
      this.#count(jobs[this.#to], 1);
    for (; (jobs[this.#from]?.atMs ?? Number.POSITIVE_INFINITY) < nowMs; this.#from++)
      this.#count(jobs[this.#from], -1);
  }

  #count(job: PlannedJob | undefined, sign: 1 | -1): void {
    const base = job?.models[0];
    if (job === undefined || base === undefined) return;
    const runMs = (this.#runMs.get(base) ?? 0) + sign * job.runMs;
    if (runMs < 1) this.#runMs.delete(base);
    else this.#runMs.set(base, runMs);
  }

  /** The machine that has it soonest among those that fetch nothing else, have room for it and stay. */
  #bestFor(
    view: FleetView,
    modelId: string,
    endOf: (machine: PlannedMachine) => number,
  ): FleetMachine | null {
    const model = view.models.get(modelId);
    if (model === undefined) return null;
    const job = { models: [modelId], vramMb: model.vramMb };
    let best: FleetMachine | null = null;
    for (const machine of view.machines.values()) {
      const { plan, draining, copying, running } = machine;
      if (draining || copying.size > 0 || !fits(plan, job, view.models)) continue;
      if ([...running.values()].some(({ startedMs }) => startedMs === null)) continue;
      if (endOf(plan) < view.nowMs + 2 * horizonMs) continue;
      if (best === null || plan.downBytesPerMs > best.plan.downBytesPerMs) best = machine;
    }
    return best;
  }
}

const fetches = (machine: FleetMachine, modelId: string) =>
  [...machine.running.values()].some(
    ({ job, startedMs }) => startedMs === null && job.models.includes(modelId),
  );
