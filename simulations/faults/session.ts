import { join } from 'node:path';
import { systemClock } from '#runtime/env.ts';
import { missingPostgres } from '#runtime/toolchain/postgres-server.ts';
import { findRedisServer, redisMissing } from '#runtime/toolchain/redis-server.ts';
import { allFaults } from './catalogue.ts';
import { checkHistory, type Verdict } from './checker.ts';
import type { Fault } from './fault.ts';
import { type FaultSummary, type FaultTable, markdownTable, readTable, summarise } from './fault-table.ts';
import { readHistory } from './history.ts';
import type { Finding } from './job-story.ts';
import { madeBefore } from './made-before.ts';
import { Standing } from './standing.ts';

/** What `emp chaos` asks for: the list, runs of one or all faults, the check of a history, and the table of many. */

export interface SessionOptions {
  /** Names of faults; empty = all. */
  names: readonly string[];
  runs: number;
  jobs: number;
  /** Of the first run; each later one takes the next. */
  seed: number;
  /** Histories go to `<outDir>/<fault>/run-<n>/`. */
  outDir: string;
  /** A cluster for each run, instead of one for all runs of a fault. */
  fresh: boolean;
  /** Leaves runs as they are whose history is whole and, checked again, clean. */
  resume: boolean;
  signal: AbortSignal;
  note: (text: string) => void;
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
    report.faults.push(summarise(fault.name, verdicts, { skipped }));
  }
  report.ok = report.findings.length === 0;
  return report;
}

async function runsOf(fault: Fault, options: SessionOptions, report: SessionReport): Promise<Verdict[]> {
  const { signal, note, jobs, fresh } = options;
  const outDir = join(options.outDir, fault.name);
  const standing = new Standing({ fault, outDir, fresh, clock: systemClock, signal });
  const verdicts: Verdict[] = [];
  try {
    for (let run = 1; run <= options.runs; run++) {
      signal.throwIfAborted();
      const seed = options.seed + run - 1;
      const name = `${fault.name} run ${run} of ${options.runs}, seed ${seed}`;
      const made = options.resume ? madeBefore({ fault, fresh, outDir, run, seed, jobs }) : null;
      if (made !== null) {
        note(`${name}: made before, clean`);
        verdicts.push(made);
        continue;
      }
      const { verdict, history } = await standing.run({
        run,
        seed,
        jobs,
        note: (text) => note(`${fault.name} ${text}`),
      });
      verdicts.push(verdict);
      note(`${name}: ${describe(verdict)}`);
      if (!verdict.ok)
        report.findings.push({ fault: fault.name, run, seed, history, what: findingLines(verdict) });
    }
  } finally {
    await standing.close();
  }
  return verdicts;
}

/** Re-checks a history as it was published. Throws `VALIDATION_FAILED` where it is none. */
export function checkFile(path: string): { verdict: Verdict; what: string[] } {
  const verdict = checkHistory(readHistory(path));
  return { verdict, what: findingLines(verdict) };
}

/** Every history below a folder, checked again, and the table as docs/faults.md shows it. */
export function tableOf(dir: string): FaultTable & { markdown: string } {
  const table = readTable(dir);
  return { ...table, markdown: markdownTable(table.faults) };
}

/** The counts of one run in words. */
export function describe(verdict: Verdict): string {
  const { lost, unexpected, duplicated, recovered, staleWrites, contradicted, wrongEnds, submits } = verdict;
  const counts = `${submits.acknowledged} of ${submits.attempted} acknowledged, lost ${lost.length}, unexpected ${unexpected.length}, duplicated ${duplicated.length}, recovered ${recovered}, stale writes ${staleWrites.length}, contradicted ${contradicted.length}, wrong ends ${wrongEnds.length}`;
  const times = `first effect ${verdict.firstEffectMs ?? '-'} ms, all ended ${verdict.allEndedMs ?? '-'} ms after the heal`;
  const rest = verdict.atRest === null ? '' : verdict.atRest ? '; at rest' : '; not at rest';
  return `${counts}; ${times}${rest}${verdict.settled ? '' : `; it did not settle: ${verdict.detail}`}`;
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
    ['wrong end', verdict.wrongEnds],
  ];
  const lines = groups.flatMap(([name, findings]) => {
    const told = findings.slice(0, toldLimit).map(({ jobId, why }) => `${name}: ${jobId} ${why}`);
    const more = findings.length - told.length;
    return more > 0 ? [...told, `${name}: ${more} more`] : told;
  });
  if (!verdict.settled) return [`it did not settle: ${verdict.detail}`, ...lines];
  if (verdict.atRest !== false) return lines;
  const left = verdict.left.length === 0 ? ['nothing tells whether it was'] : verdict.left;
  return [...lines, ...left.slice(0, toldLimit).map((what) => `not at rest: ${what}`)];
}
