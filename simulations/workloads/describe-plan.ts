import { type AutoPlan, type DayPlan, jobKinds, type PlannedMachine } from '#simulations/day/plan.ts';
import { poolNames } from '#simulations/reality/gpu-classes.ts';
import { hourMs } from './arrivals.ts';

/** A plan in a few lines for people: jobs by kind, machines by pool, hours and money, models, losses. */
export function describePlan(plan: DayPlan): string[] {
  const { scenario, seed, load, spanMs, jobs, models } = plan;
  const poison = jobs.filter((job) => job.failRuns === 'poison').length;
  const origin = plan.originBytesPerMs;
  return [
    `${scenario}, seed ${seed}, load ${load}: ${jobs.length} jobs over ${figure(spanMs / hourMs)} h`,
    ...jobKinds.flatMap((kind) => kindLine(plan, kind)),
    ...(poison > 0 ? [`  of these ${poison} fail in every run`] : []),
    ...(plan.auto === undefined ? scriptLines(plan) : chosenLines(plan, plan.auto)),
    `${models.length} models, ${bytesOf(sum(models, (model) => model.bytes))}; store ${origin === null ? 'without a bound' : `${figure(origin / 125_000)} Gbit/s`}`,
  ];
}

function scriptLines({ machines, wanted }: DayPlan): string[] {
  const started = machines.filter((machine) => machine.startMs !== null);
  const lost = started.filter((machine) => machine.ending === 'lost');
  const zombies = lost.filter((machine) => machine.away !== null).length;
  const numbers = wanted.map((step) => step.machines);
  const hours = sum(started, rentedHours);
  const usd = sum(started, (machine) => rentedHours(machine) * machine.usdPerHour);
  return [
    `machines wanted ${Math.min(...numbers)} to ${Math.max(...numbers)}; ${started.length} rentals, ${figure(hours)} machine-hours, ${figure(usd)} USD`,
    ...poolNames.flatMap((pool) => poolLine(started, pool)),
    `${lost.length} lost${zombies > 0 ? `, of these ${zombies} come back as zombies` : ''}, ${machines.length - started.length} not delivered`,
  ];
}

/** A fleet that is chosen: nobody knows yet which machines there will be. */
function chosenLines({ machines }: DayPlan, { rules, everyMs }: AutoPlan): string[] {
  const pools = poolNames.map((pool) => `${pool} ${machines.filter((one) => one.pool === pool).length}`);
  return [
    `machines chosen every ${figure(everyMs / 1_000)} s, ${rules.min} to ${rules.max}; ${machines.length} run as the day begins (${pools.join(', ')})`,
  ];
}

function kindLine({ jobs }: DayPlan, kind: (typeof jobKinds)[number]): string[] {
  const runs = jobs.filter((job) => job.kind === kind).map((job) => job.runMs / 1000);
  if (runs.length === 0) return [];
  const share = figure((100 * runs.length) / jobs.length);
  const least = runs.reduce((a, b) => Math.min(a, b));
  const most = runs.reduce((a, b) => Math.max(a, b));
  const hours = sum(runs, (run) => run) / 3600;
  return [
    `  ${kind}: ${runs.length} (${share} %), ${figure(least)} to ${figure(most)} s, ${figure(hours)} h of runs at speed 1`,
  ];
}

function poolLine(machines: PlannedMachine[], pool: string): string[] {
  const own = machines.filter((machine) => machine.pool === pool);
  if (own.length === 0) return [];
  const cards = [...new Set(own.map((machine) => machine.gpu.replace('NVIDIA GeForce ', '')))].sort();
  return [`  ${pool}: ${own.length} rentals, ${figure(sum(own, rentedHours))} h (${cards.join(', ')})`];
}

/** Time from start to end, hours: a drain comes on top of it. */
const rentedHours = ({ startMs, endMs }: PlannedMachine) =>
  startMs === null ? 0 : (endMs - startMs) / hourMs;

const sum = <T>(items: readonly T[], figureOf: (item: T) => number) =>
  items.reduce((total, item) => total + figureOf(item), 0);
const figure = (value: number) =>
  value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
const bytesOf = (bytes: number) =>
  bytes >= 1e12 ? `${figure(bytes / 1e12)} TB` : `${figure(bytes / 1e9)} GB`;
