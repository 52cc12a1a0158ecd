import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#runtime/env.ts';
import { percentile } from '#runtime/percentile.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { findRedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { allFaults } from './catalogue.ts';
import { checkHistory, type Finding, type Verdict } from './checker.ts';
import type { Fault } from './fault.ts';
import { readHistory } from './history.ts';
import { runFault } from './run-fault.ts';

/** What `emp chaos` asks for: the list, runs of one or all faults, and the check of a published history. */

export interface SessionOptions {
  /** Names of faults; empty = all. */
  names: readonly string[];
  runs: number;
  jobs: number;
  /** Of the first run; each later one takes the next. */
  seed: number;
  /** Histories go to `<outDir>/<fault>/run-<n>/`. */
  outDir: string;
  signal: AbortSignal;
  note: (text: string) => void;
}

/** One line of the table: all runs of one fault together. */
export interface FaultSummary {
  fault: string;
  runs: number;
  jobs: number;
  acknowledged: number;
  lost: number;
  unexpected: number;
  duplicated: number;
  recovered: number;
  staleWrites: number;
  contradicted: number;
  expiredRuns: number;
  injections: number;
  /** Over the runs, ms; null where no run had work left after a heal. */
  firstEffectMsP50: number | null;
  firstEffectMsMax: number | null;
  allEndedMsMax: number | null;
  /** Runs that were clean and settled. */
  ok: number;
  /** Why it was not run; null where it was. */
  skipped: string | null;
}

export interface SessionReport {
  ok: boolean;
  faults: FaultSummary[];
  /** Of runs that were not clean: where the history lies and what is in it. */
  findings: { fault: string; run: number; seed: number; history: string; what: string[] }[];
}

export function listFaults(): { name: string; summary: string; missing: string | null }[] {
  return allFaults.map(({ name, summary, missing }) => ({ name, summary, missing: missing?.() ?? null }));
}

/** Why no run at all can be made here; null where they can. */
export function missingServers(): string | null {
  return (findRedisServer() === null ? redisMissing : null) ?? missingPostgres();
}

/** Runs one fault after the other; a run that could not be made rejects. */
export async function runFaults(options: SessionOptions): Promise<SessionReport> {
  const chosen = allFaults.filter(({ name }) => options.names.length === 0 || options.names.includes(name));
  const report: SessionReport = { ok: true, faults: [], findings: [] };
  for (const fault of chosen) {
    const skipped = fault.missing?.() ?? null;
    const verdicts = skipped === null ? await runsOf(fault, options, report) : [];
    report.faults.push(summarise(fault, verdicts, { skipped, jobs: options.jobs }));
  }
  report.ok = report.findings.length === 0;
  return report;
}

async function runsOf(fault: Fault, options: SessionOptions, report: SessionReport): Promise<Verdict[]> {
  const { signal, note, jobs } = options;
  const verdicts: Verdict[] = [];
  for (let run = 1; run <= options.runs; run++) {
    signal.throwIfAborted();
    const seed = options.seed + run - 1;
    const outDir = join(options.outDir, fault.name, `run-${String(run).padStart(3, '0')}`);
    await rm(outDir, { recursive: true, force: true });
    const { verdict, history } = await runFault({
      fault,
      run,
      seed,
      jobs,
      outDir,
      clock: systemClock,
      signal,
      note: (text) => note(`${fault.name} ${text}`),
    });
    verdicts.push(verdict);
    note(`${fault.name} run ${run} of ${options.runs}, seed ${seed}: ${describe(verdict)}`);
    if (!verdict.ok)
      report.findings.push({ fault: fault.name, run, seed, history, what: findingLines(verdict) });
  }
  return verdicts;
}

/** Re-checks a history as it was published. Throws `VALIDATION_FAILED` where it is none. */
export function checkFile(path: string): { verdict: Verdict; what: string[] } {
  const verdict = checkHistory(readHistory(path));
  return { verdict, what: findingLines(verdict) };
}

/** The counts of one run in words. */
export function describe(verdict: Verdict): string {
  const { lost, unexpected, duplicated, recovered, staleWrites, contradicted, submits } = verdict;
  const counts = `${submits.acknowledged} of ${submits.attempted} acknowledged, lost ${lost.length}, unexpected ${unexpected.length}, duplicated ${duplicated.length}, recovered ${recovered}, stale writes ${staleWrites.length}, contradicted ${contradicted.length}`;
  const times = `first effect ${verdict.firstEffectMs ?? '-'} ms, all ended ${verdict.allEndedMs ?? '-'} ms after the heal`;
  return `${counts}; ${times}${verdict.settled ? '' : '; it did not settle'}`;
}

/** Findings that are told of one count, each job by name. */
const toldLimit = 5;

function findingLines(verdict: Verdict): string[] {
  const groups: [string, Finding[]][] = [
    ['lost', verdict.lost],
    ['unexpected', verdict.unexpected],
    ['duplicated', verdict.duplicated],
    ['stale write', verdict.staleWrites],
    ['contradicted', verdict.contradicted],
  ];
  const lines = groups.flatMap(([name, findings]) => {
    const told = findings.slice(0, toldLimit).map(({ jobId, why }) => `${name}: ${jobId} ${why}`);
    const more = findings.length - told.length;
    return more > 0 ? [...told, `${name}: ${more} more`] : told;
  });
  return verdict.settled ? lines : ['not every job ended in time', ...lines];
}

function summarise(
  fault: Fault,
  verdicts: Verdict[],
  { skipped, jobs }: { skipped: string | null; jobs: number },
): FaultSummary {
  const sum = (of: (verdict: Verdict) => number) =>
    verdicts.reduce((total, verdict) => total + of(verdict), 0);
  const known = (of: (verdict: Verdict) => number | null) =>
    verdicts.flatMap((verdict) => of(verdict) ?? []).toSorted((a, b) => a - b);
  const first = known(({ firstEffectMs }) => firstEffectMs);
  const all = known(({ allEndedMs }) => allEndedMs);
  return {
    fault: fault.name,
    runs: verdicts.length,
    jobs: verdicts.length * jobs,
    acknowledged: sum(({ submits }) => submits.acknowledged),
    lost: sum(({ lost }) => lost.length),
    unexpected: sum(({ unexpected }) => unexpected.length),
    duplicated: sum(({ duplicated }) => duplicated.length),
    recovered: sum(({ recovered }) => recovered),
    staleWrites: sum(({ staleWrites }) => staleWrites.length),
    contradicted: sum(({ contradicted }) => contradicted.length),
    expiredRuns: sum(({ expiredRuns }) => expiredRuns),
    injections: sum(({ injections }) => injections),
    firstEffectMsP50: first.length === 0 ? null : percentile(first, 0.5),
    firstEffectMsMax: first.at(-1) ?? null,
    allEndedMsMax: all.at(-1) ?? null,
    ok: verdicts.filter(({ ok }) => ok).length,
    skipped,
  };
}
