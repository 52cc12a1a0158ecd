import type { PoolDemand, StartingOrder, WaitingWork } from '#machines/policy/autoscale.ts';
import { residualOf } from '#simulations/policies/costs.ts';
import type { FleetMachine, FleetView } from '#simulations/policies/policy.ts';
import { type DayWatch, deafWatch } from './day-watch.ts';
import type { AutoPlan, JobKind, PlannedJob } from './plan.ts';

/** Work that came within one interval, by pool and by kind: jobs, and ms at speed 1. */
type Arrived = Map<string, Map<JobKind, { jobs: number; runMs: number }>>;

/** Until a job of the kind was seen to load: a base model over a mean link, ms; an assumption. */
const firstLoadMs = 15_000;
/** Weight of one more load in the mean of its kind: a few new machines, whose disks are empty, must not move it. */
const leastLoadWeight = 0.004;
/** Start-ups that are remembered by pool. */
const startUpsLimit = 100;

/**
 * What the autoscaler of a day is told: what waits, runs and arrives by pool, as a hub would know it. Run
 * times are the true ones, as everywhere in a day; load times are means of what was seen, by kind.
 */
export class AutoDemand {
  readonly #view: FleetView;
  readonly #jobs: ReadonlyMap<string, PlannedJob>;
  readonly #windows: number;
  readonly #everyMs: number;
  /** Mean speed of the machines that may be rented, by pool. */
  readonly #speeds: ReadonlyMap<string, number>;
  /** The latest last; the last one is still filling. */
  readonly #arrived: Arrived[] = [new Map()];
  readonly #loads = new Map<JobKind, { seen: number; meanMs: number }>();
  readonly #startUpsMs = new Map<string, number[]>();
  readonly #claimedMs = new Map<string, number>();
  /** When a run ended there last. */
  readonly #freeMs = new Map<string, number>();
  /** Jobs that asked for each model within the windows. */
  readonly #asks: Map<string, number>[] = [new Map()];

  constructor(view: FleetView, options: { auto: AutoPlan; jobs: readonly PlannedJob[] }) {
    const { everyMs, arrivalsMs, kinds } = options.auto;
    this.#view = view;
    this.#jobs = new Map(options.jobs.map((job) => [job.id, job]));
    this.#everyMs = everyMs;
    this.#windows = Math.max(1, Math.round(arrivalsMs / everyMs));
    const byPool = Map.groupBy(kinds, ({ pool }) => pool);
    this.#speeds = new Map(
      [...byPool].map(([pool, cards]) => {
        const shares = cards.reduce((sum, { share }) => sum + share, 0);
        return [pool, cards.reduce((sum, { share, speed }) => sum + share * speed, 0) / shares];
      }),
    );
  }

  /** Pools in which machines may be rented. */
  get pools(): readonly string[] {
    return [...this.#speeds.keys()];
  }

  watch(): DayWatch {
    return {
      ...deafWatch,
      jobAsked: (jobId) => this.#came(jobId),
      claimed: ({ jobId }) => void this.#claimedMs.set(jobId, this.#view.nowMs),
      runStarted: (at) => this.#loaded(at),
      runEnded: ({ machineId }) => void this.#freeMs.set(machineId, this.#view.nowMs),
      jobEnded: ({ jobId }) => void this.#claimedMs.delete(jobId),
      machineEnded: (machineId) => void this.#freeMs.delete(machineId),
    };
  }

  /** A machine that was asked for takes work. */
  started(pool: string, tookMs: number): void {
    const seen = this.#startUpsMs.get(pool) ?? [];
    seen.push(tookMs);
    if (seen.length > startUpsLimit) seen.shift();
    this.#startUpsMs.set(pool, seen);
  }

  /** One look; the interval since the last one is over. `machines` are those that take work. */
  look(
    machines: readonly FleetMachine[],
    starting: ReadonlyMap<string, readonly StartingOrder[]>,
  ): PoolDemand[] {
    const waiting = this.#waiting();
    const looks = this.pools.map((pool): PoolDemand => {
      const own = machines.filter(({ plan }) => plan.pool === pool);
      return {
        pool,
        waiting: waiting.get(pool) ?? [],
        arriving: this.#arriving(pool),
        running: own.length,
        starting: starting.get(pool) ?? [],
        startUpsMs: this.#startUpsMs.get(pool) ?? [],
      };
    });
    for (const list of [this.#arrived, this.#asks]) {
      list.push(new Map());
      if (list.length > this.#windows) list.shift();
    }
    return looks;
  }

  /** What is left of the machine's jobs, ms. */
  leftMs(machine: FleetMachine): number {
    return residualOf(machine, this.#view.nowMs, this.#view.models);
  }

  /**
   * What it would cost the machines that stay to fetch what goes with this one, ms: of each model the time over
   * this machine's own link, as often as it was asked for lately, shared by the copies that there are.
   */
  residencyMs(machine: FleetMachine, copies: ReadonlyMap<string, number>): number {
    let ms = 0;
    for (const modelId of machine.onDisk) {
      const asks = this.#asks.reduce((sum, window) => sum + (window.get(modelId) ?? 0), 0);
      const bytes = this.#view.models.get(modelId)?.bytes ?? 0;
      ms += (asks * bytes) / machine.plan.downBytesPerMs / Math.max(1, copies.get(modelId) ?? 1);
    }
    return ms;
  }

  #came(jobId: string): void {
    const job = this.#jobs.get(jobId);
    const window = this.#arrived.at(-1);
    if (job === undefined || window === undefined) return;
    const kinds = window.get(job.pool) ?? new Map<JobKind, { jobs: number; runMs: number }>();
    const sum = kinds.get(job.kind) ?? { jobs: 0, runMs: 0 };
    kinds.set(job.kind, { jobs: sum.jobs + 1, runMs: sum.runMs + job.runMs });
    window.set(job.pool, kinds);
    const asks = this.#asks.at(-1);
    for (const modelId of job.models) asks?.set(modelId, (asks.get(modelId) ?? 0) + 1);
  }

  /** Loading begins when the slot is free, not when a job is staged behind another one. */
  #loaded({ jobId, machineId }: { jobId: string; machineId: string }): void {
    const job = this.#jobs.get(jobId);
    const claimedMs = this.#claimedMs.get(jobId);
    if (job === undefined || claimedMs === undefined) return;
    const tookMs = this.#view.nowMs - Math.max(claimedMs, this.#freeMs.get(machineId) ?? 0);
    const { seen, meanMs } = this.#loads.get(job.kind) ?? { seen: 0, meanMs: 0 };
    const weight = Math.max(leastLoadWeight, 1 / (seen + 1));
    this.#loads.set(job.kind, { seen: seen + 1, meanMs: meanMs + weight * (tookMs - meanMs) });
  }

  #waiting(): Map<string, WaitingWork[]> {
    const pools = new Map<string, Map<JobKind, WaitingWork>>();
    for (const { job } of this.#view.waiting.values()) {
      const kinds = pools.get(job.pool) ?? new Map<JobKind, WaitingWork>();
      const sum = kinds.get(job.kind) ?? { kind: job.kind, jobs: 0, runMs: 0, loadMs: 0 };
      kinds.set(job.kind, {
        kind: job.kind,
        jobs: sum.jobs + 1,
        runMs: sum.runMs + job.runMs / this.#speedOf(job.pool),
        loadMs: sum.loadMs + this.#expectedLoadMs(job.kind),
      });
      pools.set(job.pool, kinds);
    }
    return new Map([...pools].map(([pool, kinds]) => [pool, [...kinds.values()]]));
  }

  /** Machines of the pool that are kept busy by what came; time before the day counts as quiet. */
  #arriving(pool: string): number {
    let ms = 0;
    for (const window of this.#arrived)
      for (const [kind, { jobs, runMs }] of window.get(pool) ?? [])
        ms += runMs / this.#speedOf(pool) + jobs * this.#expectedLoadMs(kind);
    return ms / (this.#windows * this.#everyMs);
  }

  #speedOf(pool: string): number {
    return this.#speeds.get(pool) ?? 1;
  }

  #expectedLoadMs(kind: JobKind): number {
    return this.#loads.get(kind)?.meanMs ?? (kind === 'cpu' ? 0 : firstLoadMs);
  }
}
