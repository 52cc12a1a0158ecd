import { z } from 'zod';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { buggifySites, drawSites } from './buggify.ts';
import { drawReserved } from './chaos-fleet.ts';
import { drawJobs, PlannedJob } from './chaos-jobs.ts';
import { drawWaiting, WaitingStep } from './chaos-waiting.ts';
import { drawFaults } from './fault-draws.ts';
import { Fault } from './fault-script.ts';
import { seededRng } from './seeded-rng.ts';
import { virtualStartMs } from './virtual-clock.ts';

/** `production`: the machine that ships, whole; `model`: its protocol without its insides, much cheaper. */
export const MachineKind = z.enum(['production', 'model']);
export type MachineKind = z.infer<typeof MachineKind>;

export const chaosTtlMs = 30_000;
export const chaosDefaults = { machines: 10, hubs: 2, jobs: 300, chaosMs: 300_000, faults: 36 } as const;

/**
 * One run as data: whoever plays it needs nothing else. The seed decides what is left (delays, ids,
 * which call is next), so that a line taken out of the lists shifts nothing before its time.
 */
export const ChaosScript = z.strictObject({
  version: z.literal(1),
  /** What it shows, for people. */
  about: z.string().max(2_000).default(''),
  seed: z.int().min(0),
  machineKind: MachineKind,
  hubs: z.int().min(1).max(8),
  /** `mixed`: machines differ, as chaos-fleet.ts says; `alike`: they do not. */
  fleet: z.enum(['alike', 'mixed']).default('alike'),
  /** Numbers of the machines, from 0: `machine-1` has the number 0. */
  machines: z.array(z.int().min(0).max(999)).min(1).max(200),
  /** Numbers of those that are reserved, in a mixed fleet. */
  reserved: z.array(z.int().min(0).max(999)).max(200).default([]),
  /** How long faults go on, virtual ms; then everything is healed. */
  chaosMs: z.int().min(1_000).max(3_600_000),
  jobs: z.array(PlannedJob).min(1).max(2_000),
  faults: z.array(Fault).max(1_000),
  /** What an operator does to limits on what may wait. */
  waiting: z.array(WaitingStep).max(200).default([]),
  /** Places at the ports that misbehave now and then. */
  buggify: z.array(z.enum(buggifySites)).max(buggifySites.length),
});
export type ChaosScript = z.input<typeof ChaosScript>;

/** Two of three seeds play with the machines that ship: they are the point, the others are many. */
export function machineKindOf(seed: number): MachineKind {
  return seed % 3 === 0 ? 'model' : 'production';
}

export interface DrawOptions {
  seed: number;
  machineKind?: MachineKind | undefined;
  machines?: number | undefined;
  hubs?: number | undefined;
  jobs?: number | undefined;
  chaosMs?: number | undefined;
}

/** The run of a seed: jobs, faults and sites, each from a stream of its own. */
export function drawScript(options: DrawOptions): Required<ChaosScript> {
  const { seed, machineKind = machineKindOf(seed) } = options;
  const machines = options.machines ?? chaosDefaults.machines;
  const hubs = options.hubs ?? chaosDefaults.hubs;
  const jobs = options.jobs ?? chaosDefaults.jobs;
  const chaosMs = options.chaosMs ?? chaosDefaults.chaosMs;
  const rng = seededRng(`chaos ${seed}`);
  const numbers = Array.from({ length: machines }, (_, index) => index);
  const reserved = drawReserved(rng.fork('reserved'), numbers);
  const faultWorld = { machines, hubs, jobs, leaseTtlMs: chaosTtlMs, spanMs: chaosMs };
  return {
    version: 1,
    about: '',
    seed,
    machineKind,
    hubs,
    fleet: 'mixed',
    machines: numbers,
    reserved,
    chaosMs,
    jobs: drawJobs(rng.fork('jobs'), {
      count: jobs,
      spanMs: chaosMs,
      startMs: virtualStartMs,
      machines: numbers,
      reserved,
    }),
    faults: drawFaults(rng.fork('faults'), faultWorld, chaosDefaults.faults),
    waiting: drawWaiting(rng.fork('waiting'), { spanMs: chaosMs }),
    buggify: drawSites(rng.fork('buggify')),
  };
}

/** A script from its text. Throws `VALIDATION_FAILED` with the line, or the path of each wrong field. */
export function readScript(text: string, name: string): ChaosScript {
  const parsed = ChaosScript.safeParse(parseJson(text, name));
  if (parsed.success) return parsed.data;
  const errors: FieldError[] = parsed.error.issues.map(({ path, message }) => ({
    pointer: `/${path.join('/')}`,
    detail: message,
  }));
  const shown = errors.slice(0, 5).map(({ pointer, detail }) => `${pointer}: ${detail}`);
  const more = errors.length > shown.length ? ` and ${errors.length - shown.length} more` : '';
  throw new EmpError('VALIDATION_FAILED', {
    detail: `${name} is no script of a chaos run: ${shown.join('; ')}${more}`,
    errors,
  });
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec((error as Error).message)?.[1];
    const line = position === undefined ? null : text.slice(0, Number(position)).split('\n').length;
    throw new EmpError('VALIDATION_FAILED', {
      detail: `${name}${line === null ? '' : `, line ${line}`} is not JSON: ${(error as Error).message}`,
      cause: error,
    });
  }
}

/** As a file: one fault, job or list of numbers a line, so that people can read and compare it. */
export function writeScript(script: ChaosScript): string {
  const list = (items: readonly unknown[]) =>
    items.length === 0 ? '[]' : `[\n${items.map((item) => `    ${JSON.stringify(item)}`).join(',\n')}\n  ]`;
  const fields = Object.entries(script).map(([key, value]) => {
    const isLong = key === 'faults' || key === 'jobs' || key === 'waiting';
    return `  ${JSON.stringify(key)}: ${isLong ? list(value as unknown[]) : JSON.stringify(value)}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}

/** How much there is of a script, in the order in which it is made smaller. */
export function sizeOf(script: ChaosScript): {
  faults: number;
  machines: number;
  jobs: number;
  sites: number;
} {
  const { faults, machines, jobs, buggify } = script;
  return { faults: faults.length, machines: machines.length, jobs: jobs.length, sites: buggify.length };
}
