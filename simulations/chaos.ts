import type { JobState } from '#protocol/job.ts';
import { Buggify } from './buggify.ts';
import { ChaosClients } from './chaos-clients.ts';
import { traitsOf } from './chaos-fleet.ts';
import {
  type ChaosScript,
  chaosTtlMs,
  type DrawOptions,
  drawScript,
  type MachineKind,
} from './chaos-script.ts';
import { watchMarks } from './chaos-sometimes.ts';
import { armWaiting } from './chaos-waiting.ts';
import type { Fault } from './fault-script.ts';
import { modelMachines } from './model-maker.ts';
import { Violation } from './observation.ts';
import { productionMachines } from './production-maker.ts';
import { seededRng } from './seeded-rng.ts';
import type { StoreFactory } from './stage.ts';
import { embeddedStores } from './stores-embedded.ts';
import { World } from './world.ts';
import { FaultDriver } from './world-faults.ts';
import type { MachineMaker } from './world-machine.ts';

export interface ChaosOptions extends DrawOptions, PlayOptions {
  /** Faults instead of those that the seed draws: a script made smaller. */
  faults?: readonly Fault[];
}

export interface PlayOptions {
  /** Stops here without a heal: to compare the beginnings of two runs. Virtual ms. */
  stopMs?: number;
  /** The embedded pair unless told otherwise. */
  stores?: StoreFactory;
}

const makers: Record<MachineKind, MachineMaker> = { production: productionMachines, model: modelMachines };

export interface ChaosProblem {
  /** Name of the checker; `error` where the run itself broke. */
  checker: string;
  message: string;
  jobId: string | null;
  /** What was seen of that job, or of the run, before it broke. */
  trace: string;
}

/** Plain data: it may cross threads. */
export interface ChaosReport {
  seed: number;
  machineKind: MachineKind;
  /** What was played. */
  script: ChaosScript;
  /** SHA-256 over every step: equal for equal scripts. */
  hash: string;
  steps: number;
  /** What checkers looked at: calls, frames, runs. */
  observations: number;
  audits: number;
  /** Virtual time that the run took, ms. */
  virtualMs: number;
  ended: Partial<Record<JobState, number>>;
  /** Jobs that were never accepted because a limit lets nothing wait. */
  refused: number;
  /** How often each mark was reached: chaos-sometimes.ts. */
  sometimes: Record<string, number>;
  /** Null: every invariant held and every job ended. */
  problem: ChaosProblem | null;
}

const auditEveryMs = 20_000;
/** After the heal every job must have ended by then; the longest legal end is two overdue runs and retries. */
const endWithinMs = 45 * 60_000;

/** Draws the run of a seed and plays it. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const drawn = drawScript(options);
  return await playScript({ ...drawn, faults: [...(options.faults ?? drawn.faults)] }, options);
}

/**
 * Plays one script: phase A, jobs and faults; phase B, everything is healed and every job must end.
 * Checkers look at every step, both stores are audited every 20 s and each 10 000 steps, and at rest
 * they must agree to the letter.
 */
export async function playScript(script: ChaosScript, options: PlayOptions = {}): Promise<ChaosReport> {
  const { seed, machineKind } = script;
  const marks = watchMarks();
  const parts: { driver?: FaultDriver; clients?: ChaosClients } = {};
  const buggify = new Buggify(seededRng(`chaos ${seed}/buggify`), script.buggify);
  const world = await World.open({
    seed: `chaos ${seed}`,
    machines: script.machines.length,
    machineNumbers: script.machines,
    hubs: script.hubs,
    stores: options.stores ?? embeddedStores({ leaseTtlMs: chaosTtlMs }),
    leaseTtlMs: chaosTtlMs,
    ...(script.fleet === 'mixed'
      ? { traits: (machine) => traitsOf({ ...machine, reserved: script.reserved }) }
      : {}),
    makeMachine: makers[machineKind],
    buggify,
    onObservation: (seen) => {
      marks.observe(seen);
      parts.driver?.observe(seen);
      parts.clients?.observe(seen);
    },
  });
  const driver = new FaultDriver(world);
  const waiting = script.waiting ?? [];
  const repeats = waiting.length > 0 ? seededRng(`chaos ${seed}/repeats`) : null;
  const clients = new ChaosClients(world, { repeats });
  Object.assign(parts, { driver, clients });
  let problem: ChaosProblem | null = null;
  let [ended, refused]: [ChaosReport['ended'], number] = [{}, 0];
  try {
    clients.start(script.jobs);
    driver.arm(script.faults);
    armWaiting(world, waiting);
    if (options.stopMs === undefined) ({ ended, refused } = await play(world, { script, driver, clients }));
    else await world.runTo(options.stopMs);
  } catch (error) {
    problem = problemOf(world, error);
  } finally {
    await world.close();
  }
  const { trace, steps, clock, checkers } = world;
  return {
    seed,
    machineKind,
    script,
    hash: trace.hash(),
    steps,
    observations: checkers.observations,
    audits: checkers.audits,
    virtualMs: clock.monotonic(),
    ended,
    refused,
    sometimes: marks.counts({ faults: driver.happened(), sites: buggify.counts() }),
    problem,
  };
}

async function play(
  world: World,
  { script, driver, clients }: { script: ChaosScript; driver: FaultDriver; clients: ChaosClients },
): Promise<Pick<ChaosReport, 'ended' | 'refused'>> {
  await runAudited(world, script.chaosMs);
  driver.heal();
  const deadlineMs = world.clock.monotonic() + endWithinMs;
  for (;;) {
    await runAudited(world, world.clock.monotonic() + auditEveryMs);
    for (const machine of world.machines) machine.revive();
    const stored = await world.audit(false);
    const open = await world.openJobs();
    const known = new Set([...clients.givenUp, ...stored.map(({ id }) => id)]);
    if (known.size === script.jobs.length && open.length === 0) break;
    if (world.clock.monotonic() > deadlineMs)
      throw neverEnded(
        open.map((job) => ({ id: job.id, state: job.state })),
        script.jobs.length - known.size,
      );
  }
  await runAudited(world, world.clock.monotonic() + 3 * chaosTtlMs);
  const ended: ChaosReport['ended'] = {};
  const jobs = await world.audit(true);
  for (const { state } of jobs) ended[state] = (ended[state] ?? 0) + 1;
  return { ended, refused: script.jobs.length - jobs.length };
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
  const checker = error instanceof Violation ? error.checker : 'error';
  return { checker, message, jobId, trace: world.trace.tail(jobId, 80) };
}

/** What a failing run prints: the breach, what it takes, what was seen, and how to see it again. */
export function describeProblem(report: ChaosReport, repeat?: string): string {
  const { seed, machineKind, script, problem, steps } = report;
  if (problem === null) return `seed ${seed} held`;
  const faults = script.faults.map((fault) => `  ${JSON.stringify(fault)}`).join('\n');
  const { machines, jobs, hubs } = script;
  const again = `npm run -s emp -- sim run chaos --seed ${seed} --machine-kind ${machineKind} --machines ${machines.length} --hubs ${hubs} --jobs ${jobs.length}`;
  return [
    `seed ${seed} with ${machineKind} machines broke after ${steps} steps: ${problem.message}`,
    `${hubs} hubs, ${machines.length} machines, ${jobs.length} jobs, sites: ${script.buggify.join(', ') || 'none'}`,
    `faults:\n${faults}`,
    `seen:\n${problem.trace}`,
    `repeat: ${repeat ?? again}`,
  ].join('\n');
}
