import { createHash } from 'node:crypto';
import { fits } from './costs.ts';
import type { FleetMachine, FleetView, Policy, PolicyMaker, WaitingJob } from './policy.ts';

type Pick = (view: FleetView, waiting: WaitingJob, fit: FleetMachine[], queues: Queues) => FleetMachine;

/** Jobs that are meant for one machine, in order. */
class Queues {
  readonly #byMachine = new Map<string, Map<string, WaitingJob>>();
  readonly #of = new Map<string, string>();

  bind(machineId: string, waiting: WaitingJob): void {
    this.#of.set(waiting.job.id, machineId);
    const queue = this.#byMachine.get(machineId) ?? new Map<string, WaitingJob>();
    queue.set(waiting.job.id, waiting);
    this.#byMachine.set(machineId, queue);
  }

  machineOf(jobId: string): string | null {
    return this.#of.get(jobId) ?? null;
  }

  lengthOf(machineId: string): number {
    return this.#byMachine.get(machineId)?.size ?? 0;
  }

  jobsOf(machineId: string): Iterable<WaitingJob> {
    return this.#byMachine.get(machineId)?.values() ?? [];
  }

  take(machineId: string, jobId: string): void {
    this.#byMachine.get(machineId)?.delete(jobId);
    this.#of.delete(jobId);
  }

  /** What was meant for a machine that is gone. */
  drop(machineId: string): WaitingJob[] {
    const orphans = [...this.jobsOf(machineId)];
    for (const { job } of orphans) this.#of.delete(job.id);
    this.#byMachine.delete(machineId);
    return orphans;
  }
}

/** A policy that decides at arrival: each job goes to one machine's own queue. */
function pushTo(name: string, models: Parameters<typeof fits>[2], pick: Pick): Policy {
  const queues = new Queues();
  const bind = (view: FleetView, waiting: WaitingJob): string | null => {
    const fit = [...view.machines.values()].filter(
      (machine) => !machine.draining && fits(machine.plan, waiting.job, models),
    );
    if (fit.length === 0) return null;
    const machine = pick(view, waiting, fit, queues);
    queues.bind(machine.plan.id, waiting);
    return machine.plan.id;
  };
  return {
    name,
    choose(view, machine) {
      const { id } = machine.plan;
      for (const { job } of queues.jobsOf(id)) {
        if (view.waiting.has(job.id)) return job.id;
        queues.take(id, job.id);
      }
      // Nothing was meant for it: a job that arrived while no machine fitted.
      for (const [jobId, { job }] of view.waiting)
        if (queues.machineOf(jobId) === null && fits(machine.plan, job, models)) return jobId;
      return null;
    },
    arrived: (view, waiting) => void bind(view, waiting),
    place(view, { job }) {
      const machineId = queues.machineOf(job.id);
      const machine = machineId === null ? undefined : view.machines.get(machineId);
      return machine !== undefined && machine.idleSinceMs !== null ? machine.plan.id : null;
    },
    left(view, machineId) {
      for (const waiting of queues.drop(machineId)) if (view.waiting.has(waiting.job.id)) bind(view, waiting);
    },
  };
}

/** Any machine that fits, by lot. */
export const random: PolicyMaker = ({ models }) =>
  pushTo('random', models, (view, _waiting, fit) => {
    const chosen = fit[view.rng.int(0, fit.length - 1)];
    if (chosen === undefined) throw new RangeError('nothing fits');
    return chosen;
  });

const loadOf = (machine: FleetMachine, queues: Queues) =>
  machine.running.size + queues.lengthOf(machine.plan.id);

/** The shortest queue of those that fit; equal ones by lot. */
export const jsq: PolicyMaker = ({ models }) =>
  pushTo('jsq', models, (view, _waiting, fit, queues) => {
    const least = Math.min(...fit.map((machine) => loadOf(machine, queues)));
    const shortest = fit.filter((machine) => loadOf(machine, queues) === least);
    const chosen = shortest[view.rng.int(0, shortest.length - 1)];
    if (chosen === undefined) throw new RangeError('nothing fits');
    return chosen;
  });

/** A machine takes at most this many times the mean load before the next in line is asked. */
const boundedLoad = 1.25;

/** Rendezvous hashing of the base model with bounded load (CHWBL's bound, 1.25). */
export const hash: PolicyMaker = ({ models }) => {
  const weights = new Map<string, number>();
  const weight = (model: string, machineId: string): number => {
    const key = `${model}/${machineId}`;
    let known = weights.get(key);
    if (known === undefined) {
      known = createHash('sha256').update(key).digest().readUInt32BE(0);
      weights.set(key, known);
    }
    return known;
  };
  return pushTo('hash', models, (_view, { job }, fit, queues) => {
    const model = job.models[0] ?? job.kind;
    const mean = fit.reduce((sum, machine) => sum + loadOf(machine, queues), 0) / fit.length;
    const ranked = fit.toSorted((a, b) => weight(model, b.plan.id) - weight(model, a.plan.id));
    const chosen = ranked.find((machine) => loadOf(machine, queues) <= boundedLoad * mean) ?? ranked[0];
    if (chosen === undefined) throw new RangeError('nothing fits');
    return chosen;
  });
};
