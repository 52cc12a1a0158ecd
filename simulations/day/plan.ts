import type { AutoscaleRules } from '#machines/policy/autoscale.ts';
import type { Lane } from '#simulations/workloads/supply.ts';

/**
 * A day as data: everything that is decided before a run begins, and is the same for every policy.
 * Workloads and models of reality write it, the runner plays it, reports read it. Times are ms since
 * the beginning of the day, sizes are bytes, rates are bytes per ms.
 */

/** What users ask for; each kind has run times of its own. */
export const jobKinds = ['llm', 'image', 'video', 'cpu'] as const;
export type JobKind = (typeof jobKinds)[number];

export interface PlannedModel {
  id: string;
  kind: 'checkpoint' | 'lora' | 'controlnet' | 'llm' | 'video';
  bytes: number;
  /** Memory of a card that it takes while loaded, MiB. */
  vramMb: number;
}

export interface PlannedJob {
  id: string;
  atMs: number;
  customer: string;
  kind: JobKind;
  /** Class of hardware that it prefers. */
  pool: string;
  /** 0 to 100; 50 is usual. */
  priority: number;
  /** Ids of models, the base model first; empty where it needs none. */
  models: string[];
  /** Run time with every model in memory, on a machine of speed 1, ms. */
  runMs: number;
  /** Free memory of a card that it needs, MiB: a hard requirement. */
  vramMb: number;
  /** Runs that fail before one succeeds; `Infinity` is written as `poison`. */
  failRuns: number | 'poison';
}

/** How a rented machine goes. */
export type MachineEnding =
  /** The fleet shrinks: it is told to drain, and has `drainMs` for it. */
  | 'scale-in'
  /** Spot loss: gone without a word. */
  | 'lost'
  /** It outlives the day. */
  | 'stays';

/** One rental: a container from the order to its end. A place that is filled again is another machine. */
export interface PlannedMachine {
  id: string;
  /** When the provider was asked; it is paid for from `startMs`. */
  askedMs: number;
  /** When its process starts; `null` where the provider never delivered. */
  startMs: number | null;
  endMs: number;
  ending: MachineEnding;
  /**
   * A zombie: between these times nothing of it reaches anybody, so that it counts as lost and its place is
   * filled; then it is back with what it had, beside its replacement, until `endMs`. `null` = never.
   */
  away: { fromMs: number; untilMs: number } | null;
  drainMs: number;
  /** Name of the graphics card as providers print it. */
  gpu: string;
  pool: string;
  vramMb: number;
  ramMb: number;
  diskBytes: number;
  /** Run times are divided by it. */
  speed: number;
  downBytesPerMs: number;
  upBytesPerMs: number;
  /** From its disk into memory. */
  diskBytesPerMs: number;
  usdPerHour: number;
}

/** Something that happened to the fleet or was done to it, for the timeline of the report. */
export interface PlannedIncident {
  atMs: number;
  kind: 'lost' | 'back' | 'scale-in' | 'not delivered' | 'withdrawn' | 'wanted';
  /** Machine, or the number wanted; where it was chosen, with the pool and why. */
  what: string;
}

/** A kind of machine that can be rented. */
export type MachineKind = Pick<PlannedMachine, 'pool' | 'gpu' | 'vramMb' | 'ramMb' | 'diskBytes' | 'speed'>;

/** From which machines are drawn while a day is played: equal orders give equal machines. */
export interface RentalRecipe {
  seed: number;
  /** No machine lives longer, ms of the day. */
  horizonMs: number;
  traits: RentalTraits;
  /** Spot availability out of a trace; null: lives are drawn. */
  lanes: { lanes: readonly Lane[]; offsetMs: number } | null;
}

/** What a provider's machines are like; the fields are those of a scenario's fleet. */
export interface RentalTraits {
  imageGb: number;
  lostPerHour: number;
  earlyLossShare: number;
  zombieShare: number;
  zombieAwayMinutes: number;
  undeliveredShare: number;
  drainMinutes: number;
  linkFactor: number;
}

/** A fleet that is not scripted: the day begins with the plan's machines, all others are asked for while it is played. */
export interface AutoPlan {
  rules: AutoscaleRules;
  /** How often the number of machines is looked at. */
  everyMs: number;
  /** Over how long what arrives is counted. */
  arrivalsMs: number;
  /** What may be rented, with its share among the machines of its pool. */
  kinds: (MachineKind & { share: number })[];
  rentals: RentalRecipe;
}

export interface DayPlan {
  scenario: string;
  seed: number;
  /** Factor on the number of jobs. */
  load: number;
  spanMs: number;
  models: PlannedModel[];
  /** In order of `atMs`. */
  jobs: PlannedJob[];
  /** In order of `askedMs`. */
  machines: PlannedMachine[];
  /** How many machines were wanted from when on, in order of time. */
  wanted: { atMs: number; machines: number }[];
  incidents: PlannedIncident[];
  /** What the store of models delivers to all machines together; null = no bound. */
  originBytesPerMs: number | null;
  /** Only where the fleet is chosen while the day is played. */
  auto?: AutoPlan;
}
