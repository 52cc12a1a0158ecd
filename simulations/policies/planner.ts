import type { PlannedJob, PlannedMachine, PlannedModel } from '#simulations/day/plan.ts';
import { fits, kindWeight, prepareOn, residualOf, runOn, windowJobs } from './costs.ts';
import type { FleetMachine, FleetView, WaitingJob } from './policy.ts';

/** A machine as a plan fills it: when it is free, and which models will be there by then. */
interface Bench {
  machine: FleetMachine;
  freeMs: number;
  onDisk: Set<string>;
  loaded: Set<string>;
}

export interface PlanRules {
  models: ReadonlyMap<string, PlannedModel>;
  /** When the machine will go, where a policy knows it; what would end later is not planned there. */
  endOf?: (machine: PlannedMachine) => number;
}

/**
 * List scheduling: the waiting jobs, those first that have waited longest by the weight of their kind,
 * each to the machine that ends it soonest, given what is planned there before. Answers the first job
 * of each machine that has one.
 */
export function planFirsts(view: FleetView, rules: PlanRules): Map<string, string> {
  const benches = [...view.machines.values()]
    .filter((machine) => !machine.draining)
    .map(
      (machine): Bench => ({
        machine,
        freeMs: view.nowMs + residualOf(machine, view.nowMs, rules.models),
        onDisk: new Set(machine.onDisk),
        loaded: new Set(machine.loaded),
      }),
    );
  const firsts = new Map<string, string>();
  for (const { job } of inOrder(view)) {
    const best = soonest(benches, job, rules);
    if (best === null) continue;
    const { bench, endMs } = best;
    const { id } = bench.machine.plan;
    if (!firsts.has(id)) firsts.set(id, job.id);
    bench.freeMs = endMs;
    for (const model of job.models) {
      bench.onDisk.add(model);
      bench.loaded.add(model);
    }
  }
  return firsts;
}

function inOrder(view: FleetView): WaitingJob[] {
  const window: WaitingJob[] = [];
  for (const waiting of view.waiting.values()) {
    window.push(waiting);
    if (window.length === windowJobs) break;
  }
  const urgency = ({ job, arrivedMs }: WaitingJob) => (view.nowMs - arrivedMs + 1) * kindWeight[job.kind];
  return window.sort((a, b) => urgency(b) - urgency(a));
}

function soonest(
  benches: readonly Bench[],
  job: PlannedJob,
  { models, endOf }: PlanRules,
): { bench: Bench; endMs: number } | null {
  let best: { bench: Bench; endMs: number } | null = null;
  for (const bench of benches) {
    const { machine, onDisk, loaded } = bench;
    const { plan } = machine;
    if (!fits(plan, job, models)) continue;
    const endMs = bench.freeMs + prepareOn({ plan, onDisk, loaded }, job, models) + runOn(plan, job);
    if (endOf !== undefined && endMs > endOf(plan)) continue;
    if (best === null || endMs < best.endMs) best = { bench, endMs };
  }
  return best;
}
