import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#protocol/env.ts';
import type { JobState } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { Cluster } from './cluster.ts';
import type { HistoryLine } from './history.ts';
import { until } from './server-control.ts';

/** What is left at the end of a run: rows of PostgreSQL, answers of a hub, and files of the object store. */

const eventRows = 'SELECT seq, type, job_id, machine_id, at_ms, data FROM emp.events ORDER BY seq NULLS LAST';
const runRows = `SELECT jobs.id AS job_id, runs.run, runs.token::text AS token, runs.machine_id, runs.outcome, runs.counted
  FROM emp.runs JOIN emp.jobs ON jobs.ordinal = runs.job ORDER BY jobs.ordinal, runs.run`;
const jobRows = `SELECT jobs.id, jobs.state, jobs.attempts, jobs.runs, jobs.token::text AS token,
    jobs.fence_floor::text AS fence_floor, jobs.reason, job_results.document
  FROM emp.jobs LEFT JOIN emp.job_results ON job_results.job = jobs.ordinal ORDER BY jobs.ordinal`;
const unnumbered = 'SELECT count(*)::int AS n FROM emp.events WHERE seq IS NULL';
const unended = `SELECT count(*)::int AS n FROM emp.jobs WHERE state IN ('scheduled', 'held', 'waiting', 'leased')`;

/** Resolves when every row has ended and every event has its number; rejects at `limitMs` saying what has not. */
export async function settled(cluster: Cluster, limitMs: number): Promise<void> {
  const { clock, signal } = cluster.host;
  const none = (text: string) => async () => {
    const [row] = await cluster.postgres.query(text, cluster.database);
    return Number(row?.['n']) === 0;
  };
  await until(clock, { what: 'the end of every job', limitMs, everyMs: 200, signal }, none(unended));
  await until(
    clock,
    { what: 'a number for every event', limitMs: 30_000, everyMs: 100, signal },
    none(unnumbered),
  );
}

/** All lines about the end state, in the order of the file. */
export async function collect(cluster: Cluster, clock: Clock): Promise<HistoryLine[]> {
  const query = (text: string) => cluster.postgres.query(text, cluster.database);
  const events = await query(eventRows);
  const runs = await query(runRows);
  const jobs = await query(jobRows);
  const states = await apiStates(cluster, clock);
  return [
    ...events.filter((row) => row['seq'] !== null).map(eventLine),
    ...runs.map(runLine),
    ...effectLines(cluster.objectsDir),
    ...jobs.map((row) => jobLine(row, states)),
  ];
}

type Row = Record<string, unknown>;
const textOf = (value: unknown) => (value === null || value === undefined ? null : String(value));

function eventLine(row: Row): HistoryLine {
  return {
    kind: 'event',
    seq: Number(row['seq']),
    type: String(row['type']),
    jobId: textOf(row['job_id']),
    machineId: textOf(row['machine_id']),
    atMs: Number(row['at_ms']),
    data: JSON.parse(String(row['data'])) as JsonObject,
  };
}

function runLine(row: Row): HistoryLine {
  return {
    kind: 'run',
    jobId: String(row['job_id']),
    run: Number(row['run']),
    token: String(row['token']),
    machineId: String(row['machine_id']),
    outcome: String(row['outcome']),
    counted: row['counted'] === true,
  };
}

function jobLine(row: Row, states: Map<string, JobState>): HistoryLine {
  const document = textOf(row['document']);
  const result = document === null ? null : (JSON.parse(document) as { outputs: { object: string }[] });
  const jobId = String(row['id']);
  return {
    kind: 'job',
    jobId,
    state: row['state'] as JobState,
    apiState: states.get(jobId) ?? null,
    attempts: Number(row['attempts']),
    runs: Number(row['runs']),
    token: textOf(row['token']),
    fenceFloor: String(row['fence_floor']),
    outputs: result === null ? null : result.outputs.map(({ object }) => object),
    reason: textOf(row['reason']),
  };
}

/** Every job that a hub lists, page by page. */
async function apiStates(cluster: Cluster, clock: Clock): Promise<Map<string, JobState>> {
  const states = new Map<string, JobState>();
  let cursor: string | undefined;
  const endMs = clock.monotonic() + 120_000;
  do {
    const page = await cluster.ask((client) => client.list({ limit: 500, cursor }));
    for (const { id, state } of page.items) states.set(id, state);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined && clock.monotonic() < endMs);
  return states;
}

/** `results/<job>/<token>/<name>` as the folder store keeps them: `<name>~object/meta.json`. */
function effectLines(objectsDir: string): HistoryLine[] {
  const lines: HistoryLine[] = [];
  for (const jobId of folders(join(objectsDir, 'results'))) {
    const ofJob = join(objectsDir, 'results', jobId);
    for (const token of folders(ofJob)) {
      for (const folder of folders(join(ofJob, token)).filter((name) => name.endsWith('~object'))) {
        const meta = JSON.parse(readFileSync(join(ofJob, token, folder, 'meta.json'), 'utf8')) as {
          bytes: number;
          storedAtMs: number;
        };
        const name = folder.slice(0, -'~object'.length);
        lines.push({ kind: 'effect', jobId, token, name, bytes: meta.bytes, atMs: meta.storedAtMs });
      }
    }
  }
  return lines;
}

function folders(dir: string): string[] {
  try {
    return readdirSync(dir).toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
