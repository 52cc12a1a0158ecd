import { type RunFigures, runFigures, simResult } from '#simulations/day/figures.ts';
import { logOf, planOf, ranOnce, type Told } from '#simulations/day/figures-fixture.ts';
import type { DayPlan, PlannedMachine } from '#simulations/day/plan.ts';
import type { SimResult } from '#simulations/day/result.ts';
import { pick, seededRng } from '#simulations/seeded-rng.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Ten machines at night, up to thirty at noon, some of them lost. */
function drawMachines(seed: number): (Partial<PlannedMachine> & { id: string })[] {
  const rng = seededRng(`fixture/machines/${seed}`);
  return Array.from({ length: 34 }, (_, index) => {
    const isNight = index < 10;
    const startMs = isNight ? 0 : rng.int(6, 11) * hourMs + rng.int(0, hourMs);
    const isLost = rng.next() < 0.15;
    const endMs =
      isNight && !isLost ? dayMs : isLost ? startMs + rng.int(1, 8) * hourMs : rng.int(15, 21) * hourMs;
    const large = index % 4 === 0;
    return {
      id: `machine-${index}`,
      startMs,
      endMs,
      ending: isLost ? 'lost' : isNight ? 'stays' : 'scale-in',
      away: null,
      vramMb: large ? 24_000 : 12_000,
      speed: pick(rng, [0.7, 1, 1, 1.8]),
      downBytesPerMs: rng.int(20, 110) * 1_000,
      diskBytesPerMs: 1_000_000,
      usdPerHour: large ? 0.3 : 0.12,
    };
  });
}

function drawPlan(seed: number, jobs: number): DayPlan {
  const rng = seededRng(`fixture/jobs/${seed}`);
  const drawn = Array.from({ length: jobs }, () => {
    // More of them around noon.
    const atMs = Math.floor(((rng.next() + rng.next() + rng.next()) / 3) * dayMs);
    const kind = pick(rng, [
      'llm',
      'llm',
      'llm',
      'llm',
      'llm',
      'image',
      'image',
      'image',
      'image',
      'video',
    ] as const);
    const model = Math.floor(24 * rng.next() ** 2);
    const pools = { llm: 'fast-lane', image: 'standard', video: 'heavy' } as const;
    const runMs = {
      llm: rng.int(1_000, 3_000),
      image: rng.int(20_000, 60_000),
      video: rng.int(300_000, 600_000),
    };
    return {
      atMs,
      kind,
      pool: pools[kind],
      models: [`model-${model}`],
      runMs: runMs[kind],
      vramMb: kind === 'video' ? 20_000 : 8_000,
    };
  });
  const machines = drawMachines(seed);
  return planOf({
    spanMs: dayMs,
    jobs: drawn
      .sort((a, b) => a.atMs - b.atMs)
      .map((job, index) => ({ ...job, id: `job-${index}`, customer: `customer-${index % 7}` })),
    machines,
    models: Array.from({ length: 24 }, (_, index) => ({
      id: `model-${index}`,
      kind: 'checkpoint',
      bytes: 2e9 + (index % 5) * 3e9,
      vramMb: 8_000,
    })),
    wanted: [
      { atMs: 0, machines: 10 },
      { atMs: 6 * hourMs, machines: 32 },
      { atMs: 18 * hourMs, machines: 10 },
    ],
  });
}

/**
 * Plays a plan in one pass: each job goes, in order of arrival, to the machine that would end it first.
 * `care` is how much of the loading it sees when it chooses, 0 = none of it.
 */
function playPlan(plan: DayPlan, care: number): RunFigures {
  const state = plan.machines.map((machine) => ({
    machine,
    freeMs: machine.startMs ?? 0,
    has: new Set<string>(),
  }));
  const told: Told[] = plan.machines.flatMap((machine): Told[] => [
    { atMs: machine.startMs ?? 0, tell: 'up', machine: machine.id },
    { atMs: machine.endMs, tell: 'down', machine: machine.id, as: machine.ending },
  ]);
  for (const job of plan.jobs) {
    const model = job.models[0] ?? '';
    const bytes = plan.models.find(({ id }) => id === model)?.bytes ?? 0;
    const choices = state
      .filter(({ machine }) => machine.vramMb >= job.vramMb && (machine.startMs ?? 0) <= job.atMs + hourMs)
      .map((each) => {
        const loadMs = each.has.has(model) ? 500 : bytes / each.machine.downBytesPerMs;
        const claimedMs = Math.ceil(Math.max(each.freeMs, job.atMs));
        const readyMs = Math.ceil(claimedMs + loadMs);
        const endMs = Math.ceil(readyMs + job.runMs / each.machine.speed);
        return { each, claimedMs, readyMs, endMs, seenMs: endMs - (1 - care) * loadMs };
      })
      .filter(({ each, endMs }) => endMs <= each.machine.endMs)
      .sort((a, b) => a.seenMs - b.seenMs);
    const chosen = choices[0];
    if (chosen === undefined) {
      told.push({ atMs: job.atMs, tell: 'accepted', job: job.id });
      continue;
    }
    const { each, claimedMs, readyMs, endMs } = chosen;
    const machine = each.machine.id;
    each.freeMs = endMs;
    if (!each.has.has(model)) told.push({ atMs: readyMs, tell: 'bytes', machine, bytes });
    each.has.add(model);
    told.push(...ranOnce(job.id, machine, { atMs: job.atMs, claimedMs, readyMs, endMs }));
  }
  const closeMs = Math.max(plan.spanMs, ...told.map(({ atMs }) => atMs));
  return runFigures(logOf(plan, told, closeMs), { wallMs: 1_234, traceHash: `trace-${plan.seed}-${care}` });
}

/** For tests: the same result where each policy had chosen its own machines, one more from policy to policy. */
export function fixtureChosen(policies: string[]): SimResult {
  const result = fixtureResult({ policies, seeds: [1], jobs: 60 });
  for (const [index, report] of Object.values(result.policies).entries()) {
    report.incidents = [
      { atMs: 60_000, kind: 'wanted', what: `standard ${12 + index}, was 10: 11.2 for what arrives` },
      ...result.incidents.slice(index),
    ];
    report.series.machinesWanted = report.series.machinesWanted.map((machines) => machines + index);
  }
  return { ...result, incidents: [] };
}

/** For tests: a result of these policies that has the shape of a real one, the later ones the better. */
export function fixtureResult(options: { policies: string[]; seeds?: number[]; jobs?: number }): SimResult {
  const { policies, seeds = [1, 2, 3], jobs = 600 } = options;
  const runs = Object.fromEntries(
    policies.map((policy, index) => [
      policy,
      seeds.map((seed) =>
        playPlan(drawPlan(seed, jobs), policies.length === 1 ? 1 : index / (policies.length - 1)),
      ),
    ]),
  );
  const seed = seeds[0] ?? 1;
  const plan = drawPlan(seed, 0);
  const incidents = plan.machines
    .filter(({ ending }) => ending !== 'stays')
    .map(({ endMs, ending, id }) => ({ atMs: endMs, kind: ending, what: id }))
    .sort((a, b) => a.atMs - b.atMs);
  return simResult(
    {
      scenario: 'day',
      seeds,
      load: 1,
      spanMs: dayMs,
      wallMs: 4_321,
      command: `emp sim run day --seeds ${seeds.join(',')} --policies ${policies.join(',')}`,
      versions: { emp: '0.1.0', node: '24.0.0' },
      invariants: { checked: 123_456, violated: 0 },
      incidents,
    },
    runs,
  );
}
