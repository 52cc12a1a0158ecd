import { z } from 'zod';
import { ruleProblem } from '#machines/policy/autoscale.ts';
import { jobKinds } from '#simulations/day/plan.ts';
import { poolNames } from '#simulations/reality/gpu-classes.ts';
import { saladHazard, undeliveredShare } from '#simulations/reality/losses.ts';
import { failShare } from '#simulations/reality/service-times.ts';
import { testedImageBytes } from '#simulations/reality/start-up.ts';

/** What a plan may hold at most, whatever the scenario, the load and the traces ask for. */
export const planLimits = { jobs: 2_000_000, machines: 2_000, rentals: 20_000, spanHours: 168 };

const share = z.number().min(0).max(1);
const atHour = z.number().min(0).max(planLimits.spanHours);
const count = z.int().min(0).max(planLimits.jobs);

/** Shares by name that make up a whole; half a per cent is allowed for rounding. */
const wholeShares = <K extends string>(names: readonly K[]) =>
  z.record(z.enum(names), share).refine(
    (shares) => {
      const sum = Object.values<number>(shares).reduce((total, one) => total + one, 0);
      return Math.abs(sum - 1) <= 0.005;
    },
    { error: 'the shares must add up to 1' },
  );

/**
 * Machines wanted over the day: straight lines between the points, the first at hour 0. The defaults are
 * the day of design: 10 at night, 50 at noon, 10 at night again.
 */
const wantedPoints = z
  .array(z.strictObject({ atHour, machines: z.int().min(0).max(planLimits.machines) }))
  .min(1)
  .max(200)
  .refine((points) => points[0]?.atHour === 0, { error: 'the first point must be at hour 0' })
  .refine((points) => points.every((point, i) => i === 0 || point.atHour > (points[i - 1]?.atHour ?? 0)), {
    error: 'points must be in order of time, each later than the one before',
  })
  .refine((points) => points.some((point) => point.machines > 0), {
    error: 'at least one point must want a machine',
  });

export const dayWanted = [
  { atHour: 0, machines: 10 },
  { atHour: 5, machines: 10 },
  { atHour: 7, machines: 20 },
  { atHour: 10, machines: 45 },
  { atHour: 12, machines: 50 },
  { atHour: 17, machines: 50 },
  { atHour: 20, machines: 40 },
  { atHour: 23.5, machines: 10 },
  { atHour: 24, machines: 10 },
];

/** Bounds of one pool; with at least one machine its jobs never wait for a first one. */
const autoPool = z
  .strictObject({
    min: z.int().min(0).max(planLimits.machines).default(1),
    max: z.int().min(0).max(planLimits.machines).default(planLimits.machines),
  })
  .prefault({});

/** How many machines there are follows the queue: the rules of machines/policy/autoscale.ts, which says what each does. */
const Auto = z
  .strictObject({
    /** Machines of all pools together, those on their way included. */
    min: z.int().min(0).max(planLimits.machines).default(6),
    max: z.int().min(1).max(planLimits.machines).default(60),
    pools: z.strictObject({ 'fast-lane': autoPool, standard: autoPool, heavy: autoPool }).prefault({}),
    /** Within which time what waits should be done once machines that are asked for now have started, seconds. */
    targetDrainS: z.number().min(10).max(86_400).default(600),
    /** Ordered beyond what is needed. SALAD advises 0.05 to 0.1. */
    spareShare: share.default(0.1),
    /** How often the number is looked at, seconds. */
    everyS: z.number().min(5).max(3_600).default(60),
    /** For how long a pool keeps what it needed last, seconds. */
    coolDownS: z.number().min(0).max(86_400).default(1_800),
    /** Over how long what arrives is counted, seconds. */
    arrivalsS: z.number().min(30).max(14_400).default(900),
  })
  .superRefine((auto, context) => {
    const found = ruleProblem(auto);
    if (found !== null)
      context.addIssue({ code: 'custom', path: found.field.split('.'), message: found.problem });
  });

const Fleet = z
  .strictObject({
    wanted: wantedPoints.default(dayWanted),
    /** How often the number wanted is set anew, minutes. SALAD advises a quarter of an hour. */
    stepMinutes: z.number().min(1).max(240).default(15),
    /** How long before they are wanted machines are ordered, minutes; 10 is the median start of a container. */
    leadMinutes: z.number().min(0).max(240).default(10),
    /** Ordered beyond the number wanted. SALAD advises 0.05 to 0.1. */
    spareShare: share.default(0),
    /** Of the machines wanted, by pool. */
    pools: wholeShares(poolNames).default({ 'fast-lane': 0.2, standard: 0.5, heavy: 0.3 }),
    /** Compressed image, GB; what it has beyond 5.53 is pulled over each machine's own link. */
    imageGb: z
      .number()
      .min(0.01)
      .max(35)
      .default(testedImageBytes / 1e9),
    /** Spot losses of machines that survived their first half hour. */
    lostPerHour: z.number().min(0).max(60).default(saladHazard.lostPerHour),
    /** Share of new machines that are lost within half an hour. */
    earlyLossShare: share.default(saladHazard.earlyShare),
    /** Share of losses after which the machine comes back as a zombie; SALAD documents them, and no rate. */
    zombieShare: share.default(0),
    /** Mean time until a zombie is back, minutes; an assumption. */
    zombieAwayMinutes: z.number().min(1).max(1_440).default(60),
    /** Share of orders that the provider accepts and never fills. */
    undeliveredShare: z.number().min(0).max(0.9).default(undeliveredShare),
    /** What a machine that is scaled in has to finish its work. */
    drainMinutes: z.number().min(0).max(240).default(10),
    /** On all links alike. */
    linkFactor: z.number().min(0.01).max(100).default(1),
    /**
     * Null: the fleet is a script. Else the autoscaler chooses it, and `wanted` says no more than how arrivals are
     * spread and which machines run as the day begins; `stepMinutes` and `leadMinutes` mean nothing.
     */
    auto: Auto.nullable().default(null),
  })
  .superRefine(({ auto, spareShare }, context) => {
    if (auto === null || spareShare === 0) return;
    context.addIssue({
      code: 'custom',
      path: ['spareShare'],
      message: 'is of scripted fleets; with fleet.auto set fleet.auto.spareShare',
    });
  });

const Jobs = z.strictObject({
  /** Over the whole span at load 1, events not counted. */
  count: count.default(50_000),
  /** `fleet`: arrivals rise and fall with the machines wanted; `flat`: evenly. */
  shape: z.enum(['fleet', 'flat']).default('fleet'),
  kinds: wholeShares(jobKinds).default({ llm: 0.48, image: 0.36, video: 0.04, cpu: 0.12 }),
  /** Users at load 1, each a customer of their own. */
  customers: z.int().min(1).max(100_000).default(4_000),
  sessions: z
    .strictObject({
      /** Share of requests from a user seen within the hour; GenTD26: 0.78. */
      sameHour: share.default(0.78),
      /** Share of those that ask for the user's last set of models; GenTD26: 0.68. */
      sameModels: share.default(0.68),
    })
    .prefault({}),
  /** Share of images with LoRAs; GenTD26: 0.16. */
  loraShare: share.default(0.16),
  controlnetShare: share.default(0.1),
  /** Share of jobs whose first run fails. */
  failShare: share.default(failShare),
});

const Catalogue = z.strictObject({
  checkpoints: z.int().min(1).max(2_000).default(105),
  loras: z.int().min(3).max(20_000).default(400),
  controlnets: z.int().min(3).max(1_000).default(24),
  llms: z.int().min(1).max(200).default(10),
});

/** Rank of a base model, 1 is the most popular; beyond the catalogue the last one is taken. */
const rank = z.int().min(1).max(2_000);

const during = { atHour, hours: z.number().gt(0).max(planLimits.spanHours) };

export const ScenarioEvent = z.discriminatedUnion('kind', [
  /** A base model that hardly anybody used is asked for by a crowd: quick rise, slow decay. */
  z.strictObject({
    kind: z.literal('viral'),
    ...during,
    jobs: count,
    /** Before the wave. */
    rank: rank.default(60),
  }),
  /** One customer submits evenly and without pause. */
  z.strictObject({
    kind: z.literal('flood'),
    ...during,
    jobs: count,
    jobKind: z.enum(jobKinds).default('image'),
    /** Of the base model of images; models of other kinds are drawn. */
    rank: rank.default(2),
  }),
  /** A workflow of one customer that fails in every run. */
  z.strictObject({
    kind: z.literal('poison'),
    ...during,
    jobs: count,
    jobKind: z.enum(jobKinds).default('image'),
    /** Of the base model of images; models of other kinds are drawn. */
    rank: rank.default(2),
  }),
  /** Batches: one user at a time submits many like requests within seconds. */
  z.strictObject({
    kind: z.literal('bursts'),
    ...during,
    bursts: z.int().min(0).max(100_000),
    jobsPerBurst: z.int().min(1).max(10_000),
    withinSeconds: z.number().min(0).max(3_600).default(5),
    jobKind: z.enum(jobKinds).default('image'),
  }),
]);
export type ScenarioEvent = z.infer<typeof ScenarioEvent>;

/**
 * A day in words: everything from which a plan is drawn, beside the seed and the load. Every field has the
 * value of the standard day as its default, so a file names what it changes and no more. Times are hours
 * from the beginning.
 */
export const Scenario = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9][a-z0-9+._-]{0,63}$/, 'a scenario name has 1 to 64 characters of a-z 0-9 + . _ -'),
    summary: z.string().max(1_000).default(''),
    spanHours: z.number().min(0.05).max(planLimits.spanHours).default(24),
    fleet: Fleet.prefault({}),
    /** What the store of models delivers to all machines together, Gbit/s; null: no bound. */
    originGbps: z.number().min(0.001).max(100_000).nullable().default(null),
    catalogue: Catalogue.prefault({}),
    jobs: Jobs.prefault({}),
    events: z.array(ScenarioEvent).max(50).default([]),
  })
  .superRefine((scenario, context) => {
    for (const [index, event] of scenario.events.entries()) {
      if (event.atHour + event.hours <= scenario.spanHours) continue;
      context.addIssue({
        code: 'custom',
        path: ['events', index, 'hours'],
        message: `the event ends after the scenario does (spanHours is ${scenario.spanHours}); shorten it or begin earlier`,
      });
    }
  });
export type Scenario = z.infer<typeof Scenario>;
/** A scenario as files write it: what is left out has the value of the standard day. */
export type ScenarioInput = z.input<typeof Scenario>;

/** Jobs of one event at load 1. */
export function eventJobs(event: ScenarioEvent): number {
  return event.kind === 'bursts' ? event.bursts * event.jobsPerBurst : event.jobs;
}
