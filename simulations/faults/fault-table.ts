import { globSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import { percentile } from '#runtime/percentile.ts';
import { allFaults } from './catalogue.ts';
import { checkHistory, type Verdict } from './checker.ts';
import { readHistory } from './history.ts';

/** What many runs say together: one line for each fault. */

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
  wrongEnds: number;
  /** Runs whose histories tell whether the stores were at rest, and those where they were not. */
  lookedAt: number;
  notAtRest: number;
  expiredRuns: number;
  injections: number;
  /** Over the runs, ms; null where no run had work left after a heal. */
  firstEffectMsP50: number | null;
  firstEffectMsMax: number | null;
  allEndedMsMax: number | null;
  /** Runs that were clean and settled. */
  ok: number;
  /** Runs by the digest of their sources, in the order of the runs; null where the history does not tell. */
  builds: { build: string | null; runs: number }[];
  /** Histories that were set aside and not clean: their runs were made again. */
  madeAgain: number;
  /** Why it was not run; null where it was. */
  skipped: string | null;
}

export function summarise(
  fault: string,
  verdicts: readonly Verdict[],
  { skipped = null, madeAgain = 0 }: { skipped?: string | null; madeAgain?: number } = {},
): FaultSummary {
  const sum = (of: (verdict: Verdict) => number) =>
    verdicts.reduce((total, verdict) => total + of(verdict), 0);
  const known = (of: (verdict: Verdict) => number | null) =>
    verdicts.flatMap((verdict) => of(verdict) ?? []).toSorted((a, b) => a - b);
  const first = known(({ firstEffectMs }) => firstEffectMs);
  const all = known(({ allEndedMs }) => allEndedMs);
  return {
    fault,
    runs: verdicts.length,
    jobs: sum(({ jobs }) => jobs),
    acknowledged: sum(({ submits }) => submits.acknowledged),
    lost: sum(({ lost }) => lost.length),
    unexpected: sum(({ unexpected }) => unexpected.length),
    duplicated: sum(({ duplicated }) => duplicated.length),
    recovered: sum(({ recovered }) => recovered),
    staleWrites: sum(({ staleWrites }) => staleWrites.length),
    contradicted: sum(({ contradicted }) => contradicted.length),
    wrongEnds: sum(({ wrongEnds }) => wrongEnds.length),
    lookedAt: verdicts.filter(({ atRest }) => atRest !== null).length,
    notAtRest: verdicts.filter(({ atRest }) => atRest === false).length,
    expiredRuns: sum(({ expiredRuns }) => expiredRuns),
    injections: sum(({ injections }) => injections),
    firstEffectMsP50: first.length === 0 ? null : percentile(first, 0.5),
    firstEffectMsMax: first.at(-1) ?? null,
    allEndedMsMax: all.at(-1) ?? null,
    ok: verdicts.filter(({ ok }) => ok).length,
    builds: buildsOf(verdicts),
    madeAgain,
    skipped,
  };
}

function buildsOf(verdicts: readonly Verdict[]): FaultSummary['builds'] {
  const counts = new Map<string | null, number>();
  for (const { build } of verdicts) counts.set(build, (counts.get(build) ?? 0) + 1);
  return [...counts].map(([build, runs]) => ({ build, runs }));
}

/** What is not as it should be, by counts; null of a clean run. */
export function uncleanOf(verdict: Verdict): string | null {
  if (verdict.ok) return null;
  const { lost, unexpected, duplicated, staleWrites, contradicted, wrongEnds, settled, detail } = verdict;
  const counts = { lost, unexpected, duplicated, 'stale writes': staleWrites, contradicted };
  const found = Object.entries({ ...counts, 'wrong ends': wrongEnds })
    .filter(([, findings]) => findings.length > 0)
    .map(([name, findings]) => `${name} ${findings.length}`);
  if (!settled) found.unshift(`it did not settle: ${detail}`);
  else if (verdict.atRest === false) found.push('not at rest');
  return found.join(', ');
}

export interface FaultTable {
  /** In the order of the catalogue; only faults with a history. */
  faults: FaultSummary[];
  /** Histories that are not clean. */
  notClean: string[];
  /** Histories that were set aside because their run was made again, with what was not clean in them. */
  madeAgain: { history: string; why: string }[];
  /** Runs of one cluster between which events are missing, so that one may hide: they are of different series. */
  apart: string[];
  /** Histories that are none, or of a run that is under way or was interrupted. */
  refused: { history: string; why: string }[];
}

/** Checks every history below a folder (`<fault>/run-<n>/history.jsonl`) again. Nothing is believed. */
export function readTable(dir: string): FaultTable {
  const table: FaultTable = { faults: [], notClean: [], madeAgain: [], apart: [], refused: [] };
  const verdicts = new Map<string, Verdict[]>();
  const again = new Map<string, number>();
  for (const path of globSync('*/run-*/history.jsonl', { cwd: resolve(dir) }).toSorted()) {
    const history = join(dir, path);
    const folder = dirname(dirname(path));
    const read = verdictOf(history, folder);
    if (asideFolder.test(dirname(path))) {
      const why = typeof read === 'string' ? read : uncleanOf(read);
      if (why === null) continue;
      table.madeAgain.push({ history, why });
      again.set(folder, (again.get(folder) ?? 0) + 1);
    } else if (typeof read === 'string') table.refused.push({ history, why: read });
    else {
      verdicts.set(folder, [...(verdicts.get(folder) ?? []), read]);
      if (!read.ok) table.notClean.push(history);
    }
  }
  const order = [...new Set([...allFaults.map(({ name }) => name), ...verdicts.keys()])];
  table.faults = order.flatMap((name) => {
    const found = verdicts.get(name);
    return found === undefined ? [] : [summarise(name, found, { madeAgain: again.get(name) ?? 0 })];
  });
  table.apart = [...verdicts.values()].flatMap(apartOf);
  return table;
}

const asideFolder = /\.before-\d+$/;

/** The verdict on a history, or why it is none. */
function verdictOf(history: string, folder: string): Verdict | string {
  try {
    const verdict = checkHistory(readHistory(history));
    return verdict.fault === folder ? verdict : `it is of ${verdict.fault} and lies in ${folder}`;
  } catch (error) {
    if (!(error instanceof EmpError) || error.code !== 'VALIDATION_FAILED') throw error;
    return error.message;
  }
}

/** Each run on a cluster begins with the event after the last one of the run before on the same cluster. */
function apartOf(verdicts: readonly Verdict[]): string[] {
  return verdicts.flatMap(({ fault, run, place }) => {
    const { clusterFrom, runsBefore, afterSeq } = place;
    const before = verdicts.find(
      (each) => each.place.clusterFrom === clusterFrom && each.place.runsBefore === runsBefore - 1,
    );
    if (before === undefined || before.place.lastSeq === afterSeq) return [];
    return [
      `${fault}: run ${run} begins after event ${afterSeq}, run ${before.run} ended at ${before.place.lastSeq}`,
    ];
  });
}

const seconds = (ms: number | null) => (ms === null ? '–' : `${(ms / 1_000).toFixed(1)} s`);

/** The builds of a row; where there are several, with their runs. */
function buildCell(builds: FaultSummary['builds']): string {
  const [first] = builds;
  const name = (build: string | null) => (build === null ? 'unknown' : `\`${build.slice(0, 8)}\``);
  if (first === undefined) return '–';
  if (builds.length === 1) return name(first.build);
  return `mixed: ${builds.map(({ build, runs }) => `${name(build)} ${runs}`).join(', ')}`;
}

/** Runs that were not at rest; where not every history tells, of how many. */
function restCell({ runs, lookedAt, notAtRest }: FaultSummary): string {
  if (lookedAt === 0) return '–';
  return lookedAt === runs ? String(notAtRest) : `${notAtRest} of ${lookedAt}`;
}

/** The table of docs/faults.md. */
export function markdownTable(faults: readonly FaultSummary[]): string {
  const head = [
    ...['fault', 'runs', 'acknowledged', 'lost', 'unexpected', 'duplicated', 'recovered', 'stale writes'],
    ...['contradicted', 'wrong ends', 'not at rest', 'expired runs', 'first effect', 'all ended'],
    ...['made again', 'build'],
  ];
  const rows = faults.map((row) => [
    ...[`\`${row.fault}\``, row.runs, row.acknowledged, row.lost, row.unexpected, row.duplicated],
    ...[row.recovered, row.staleWrites, row.contradicted, row.wrongEnds, restCell(row), row.expiredRuns],
    ...[seconds(row.firstEffectMsMax), seconds(row.allEndedMsMax), row.madeAgain, buildCell(row.builds)],
  ]);
  const line = (cells: readonly unknown[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
