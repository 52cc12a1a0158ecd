import type { JobState } from '#protocol/job.ts';
import { chaosMarks, watchMarks } from './chaos-sometimes.ts';
import { drawFaults, type Fault } from './fault-script.ts';
import { modelMachines } from './model-maker.ts';
import { Violation } from './observation.ts';
import { productionMachines } from './production-maker.ts';
import { seededRng } from './seeded-rng.ts';
import { Sometimes } from './sometimes.ts';
import type { StoreFactory } from './stage.ts';
import { embeddedStores } from './stores-embedded.ts';
import { drawJobs } from './workload.ts';
import { World } from './world.ts';
import { FaultDriver } from './world-faults.ts';
import type { MachineMaker } from './world-machine.ts';

export interface ChaosOptions {
  seed: number;
  /** Faults instead of those that the seed draws: a script made smaller. */
  faults?: readonly Fault[];
  machines?: number;
  hubs?: number;
  jobs?: number;
  /** How long faults go on, virtual ms. */
  chaosMs?: number;
  /** Stops here without a heal: to compare the beginnings of two runs. Virtual ms. */
  stopMs?: number;
  stores?: StoreFactory;
  machineKind?: MachineKind;
}

/** `production`: the machine that ships, whole; `model`: its protocol without its insides, much cheaper. */
export type MachineKind = 'production' | 'model';
const makers: Record<MachineKind, MachineMaker> = { production: productionMachines, model: modelMachines };

export interface ChaosProblem {
  message: string;
  jobId: string | null;
  /** What was seen of that job, or of the run, before it broke. */
  trace: string;
}

export interface ChaosReport {
  seed: number;
  machineKind: MachineKind;
  faults: readonly Fault[];
  /** SHA-256 over every step: equal for equal seeds. */
  hash: string;
  steps: number;
  /** Virtual time that the run took, ms. */
  virtualMs: number;
  ended: Partial<Record<JobState, number>>;
  sometimes: Sometimes;
  /** Null: every invariant held and every job ended. */
  problem: ChaosProblem | null;
}

export const chaosTtlMs = 30_000;
const auditEveryMs = 20_000;
/** After the heal every job must have ended by then; the longest legal end is two overdue runs and retries. */
const endWithinMs = 45 * 60_000;
const faultsPerRun = 24;

/**
 * One seed: phase A, jobs and faults; phase B, everything is healed and every job must end. Checkers
 * look at every step, both stores are audited every 20 s, and at rest they must agree to the letter.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, machines = 6, hubs = 2, jobs = 100, chaosMs = 300_000, machineKind = 'production' } = options;
  const rng = seededRng(`chaos ${seed}`);
  const script =
    options.faults ??
    drawFaults(
      rng.fork('faults'),
      { machines, hubs, jobs, leaseTtlMs: chaosTtlMs, spanMs: chaosMs },
      faultsPerRun,
    );
  const marks = watchMarks();
  let driver: FaultDriver | null = null;
  const world = await World.open({
    seed: `chaos ${seed}`,
    machines,
    hubs,
    stores: options.stores ?? embeddedStores({ leaseTtlMs: chaosTtlMs }),
    leaseTtlMs: chaosTtlMs,
    makeMachine: makers[machineKind],
    onObservation: (seen) => {
      marks.observe(seen);
      driver?.observe(seen);
    },
  });
  driver = new FaultDriver(world);
  let problem: ChaosProblem | null = null;
  let ended: Partial<Record<JobState, number>> = {};
  try {
    const planned = drawJobs(rng.fork('jobs'), {
      count: jobs,
      spanMs: chaosMs,
      startMs: world.clock.now(),
      machines: world.machines.map((machine) => machine.machineId),
    });
    for (const { atMs, cancelAfterMs, submission } of planned) {
      world.clock.setTimeout(() => world.submit(submission), atMs);
      if (cancelAfterMs !== null)
        world.clock.setTimeout(() => world.cancel(submission.id), atMs + cancelAfterMs);
    }
    if (options.stopMs === undefined) ended = await play(world, { script, driver, chaosMs, jobs });
    else await playUntil(world, { script, driver, stopMs: options.stopMs });
  } catch (error) {
    problem = problemOf(world, error);
  } finally {
    await world.close();
  }
  const { trace, steps, clock } = world;
  return {
    seed,
    machineKind,
    faults: script,
    hash: trace.hash(),
    steps,
    virtualMs: clock.monotonic(),
    ended,
    sometimes: marks.sometimes,
    problem,
  };
}

async function play(
  world: World,
  options: { script: readonly Fault[]; driver: FaultDriver; chaosMs: number; jobs: number },
): Promise<Partial<Record<JobState, number>>> {
  const { driver } = options;
  driver.arm(options.script);
  await runAudited(world, options.chaosMs);
  driver.heal();
  const deadlineMs = world.clock.monotonic() + endWithinMs;
  for (;;) {
    await runAudited(world, world.clock.monotonic() + auditEveryMs);
    for (const machine of world.machines) machine.revive();
    const stored = await world.audit(false);
    const open = await world.openJobs();
    if (stored.length === options.jobs && open.length === 0) break;
    if (world.clock.monotonic() > deadlineMs)
      throw neverEnded(
        open.map((job) => ({ id: job.id, state: job.state })),
        options.jobs - stored.length,
      );
  }
  await runAudited(world, world.clock.monotonic() + 3 * chaosTtlMs);
  const ended: Partial<Record<JobState, number>> = {};
  for (const { state } of await world.audit(true)) ended[state] = (ended[state] ?? 0) + 1;
  return ended;
}

async function playUntil(
  world: World,
  options: { script: readonly Fault[]; driver: FaultDriver; stopMs: number },
): Promise<void> {
  options.driver.arm(options.script);
  await world.runTo(options.stopMs);
}

async function runAudited(world: World, untilMs: number): Promise<void> {
  while (world.clock.monotonic() < untilMs) {
    await world.runTo(Math.min(untilMs, world.clock.monotonic() + auditEveryMs));
    await world.audit(false);
  }
}

function neverEnded(open: { id: string; state: JobState }[], unstored: number): Violation {
  const named = open.slice(0, 10).map((job) => `${job.id} ${job.state}`);
  const first = open[0]?.id;
  const detail = `after the heal ${open.length} jobs never ended (${named.join(', ')}) and ${unstored} were never accepted`;
  return new Violation('I1: everything ends', first === undefined ? { detail } : { detail, jobId: first });
}

function problemOf(world: World, error: unknown): ChaosProblem {
  const jobId = error instanceof Violation ? error.jobId : null;
  const message = error instanceof Violation ? error.message : ((error as Error).stack ?? String(error));
  return { message, jobId, trace: world.trace.tail(jobId, 80) };
}

/** What a failing seed prints: the breach, the faults, what was seen, and how to see it again. */
export function describeProblem(report: ChaosReport, file = 'simulations/chaos.test.ts'): string {
  if (report.problem === null) return `seed ${report.seed} held`;
  const faults = report.faults.map((fault) => `  ${JSON.stringify(fault)}`).join('\n');
  return [
    `seed ${report.seed} with ${report.machineKind} machines broke after ${report.steps} steps: ${report.problem.message}`,
    `faults:\n${faults}`,
    `seen:\n${report.problem.trace}`,
    `repeat: EMP_CHAOS_SEED=${report.seed} EMP_CHAOS_MACHINES=${report.machineKind} npm run test:one -- ${file}`,
    'with EMP_CHAOS_SHRINK=1 the faults are cut down to those that it takes',
  ].join('\n');
}

/** Adds up what a set of runs went through. */
export function sumMarks(reports: readonly ChaosReport[]): Sometimes {
  const sum = new Sometimes(chaosMarks);
  for (const report of reports) sum.add(report.sometimes);
  return sum;
}
