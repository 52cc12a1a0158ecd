import type { Clock, Rng } from '#protocol/env.ts';
import type { Cluster, ClusterShape } from './cluster.ts';
import type { RedisSide } from './redis-side.ts';

/** What a fault may use while it is made. */
export interface FaultContext {
  cluster: Cluster;
  /** How long it will be held, ms: for faults that end by themselves. */
  holdMs: number;
  /** Of this injection alone. */
  rng: Rng;
  clock: Clock;
  signal: AbortSignal;
  /** Tells the history what was seen on the way. */
  note: (detail: string) => void;
}

/** A fault under way. */
export interface Injected {
  /** What exactly was done, for the history. */
  detail: string;
  /** Undoes it; answers what was done. Resolves when the parts that were ended run again. */
  heal: () => Promise<string>;
  /** Afterwards, off the clock of recovery: what was there before the fault stands by again, such as a replica. */
  restore?: () => Promise<string>;
}

/** One thing that goes wrong, and what has to stand around it. */
export interface Fault {
  name: string;
  /** One line for people. */
  summary: string;
  /** How long it lasts before it is healed, ms; drawn per injection. */
  holdMs: { min: number; max: number };
  cluster?: Partial<ClusterShape>;
  /** The Redis of the run; the append-only single server where absent. */
  redis?: (clock: Clock, dir: string) => Promise<RedisSide>;
  /** Runs of 1 000 jobs that its servers can hold, where that is few: then the next one gets a fresh cluster. */
  runsPerCluster?: number;
  /** Why it cannot be made on this computer; null where it can. */
  missing?: () => string | null;
  inject: (context: FaultContext) => Promise<Injected>;
}
