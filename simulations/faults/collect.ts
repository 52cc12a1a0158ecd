import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import type { JobState } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { HubClient } from '#runtime/client.ts';
import type { Cluster } from './cluster.ts';
import type { EventLine, HistoryLine } from './history.ts';
import { until } from './server-control.ts';

/** What is left at the end of a run: rows of PostgreSQL, answers of a hub, and files of the object store. */

/** What of a cluster belongs to one run: all that came after what the runs before have collected. */
export interface Extent {
  /** Number of the last event of the runs before; 0 where there were none. */
  afterSeq: number;
  /** Of the last row of the runs before. */
  afterOrdinal: number;
  /** Wall time, ms since 1970, before which none of its jobs was submitted. */
  sinceMs: number;
  /** Whether a job belongs to a run before. */
  isEarlier: (jobId: string) => boolean;
  /** Submits of runs before that nobody knows the end of: what becomes of them belongs to this run. */
  openIds: readonly string[];
}

/** `extent` as a condition on rows of jobs. */
function ofRun({ afterOrdinal, openIds }: Extent): string {
  const ids = openIds.map((id) => `'${id.replaceAll("'", "''")}'`);
  const open = ids.length === 0 ? '' : ` OR jobs.id IN (${ids.join(', ')})`;
  return `(jobs.ordinal > ${afterOrdinal}${open})`;
}

const eventRows = ({ afterSeq }: Extent) =>
  `SELECT seq, type, job_id, machine_id, at_ms, data FROM emp.events WHERE seq > ${afterSeq} ORDER BY seq`;
const runRows = (extent: Extent) =>
  `SELECT jobs.id AS job_id, runs.run, runs.token::text AS token, runs.machine_id, runs.outcome, runs.counted
  FROM emp.runs JOIN emp.jobs ON jobs.ordinal = runs.job WHERE ${ofRun(extent)} ORDER BY jobs.ordinal, runs.run`;
const jobRows = (extent: Extent) =>
  `SELECT jobs.id, jobs.ordinal::text AS ordinal, jobs.state, jobs.attempts, jobs.runs, jobs.token::text AS token,
    jobs.fence_floor::text AS fence_floor, jobs.reason, job_results.document
  FROM emp.jobs LEFT JOIN emp.job_results ON job_results.job = jobs.ordinal WHERE ${ofRun(extent)} ORDER BY jobs.ordinal`;
const unnumbered = 'SELECT count(*)::int AS n FROM emp.events WHERE seq IS NULL';
const unended = `SELECT count(*)::int AS n FROM emp.jobs WHERE state IN ('scheduled', 'held', 'waiting', 'leased')`;

/** Jobs that are asked for one by one, at most: more of them are a fault of the list. */
const singlyLimit = 100;

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

/** All lines about the end state, in the order of the file, and where the next run on the cluster begins. */
export async function collect(
  cluster: Cluster,
  extent: Extent,
): Promise<{ lines: HistoryLine[]; lastSeq: number; lastOrdinal: number }> {
  const query = (text: string) => cluster.postgres.query(text, cluster.database);
  const events = (await query(eventRows(extent))).map(eventLine);
  const runs = await query(runRows(extent));
  const jobs = await query(jobRows(extent));
  const ids = jobs.map((row) => String(row['id']));
  const states = await apiStates(cluster, { ids, sinceMs: extent.sinceMs });
  const isOurs = (jobId: string) => !extent.isEarlier(jobId) || extent.openIds.includes(jobId);
  return {
    lines: [
      ...events,
      ...runs.map(runLine),
      ...effectLines(cluster.objectsDir, isOurs),
      ...jobs.map((row) => jobLine(row, states)),
    ],
    lastSeq: events.at(-1)?.seq ?? extent.afterSeq,
    lastOrdinal: jobs.reduce((last, row) => Math.max(last, Number(row['ordinal'])), extent.afterOrdinal),
  };
}

type Row = Record<string, unknown>;
const textOf = (value: unknown) => (value === null || value === undefined ? null : String(value));

function eventLine(row: Row): EventLine {
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

/** What a hub answers about the jobs: from its list, page by page, and one by one for those that are older. */
async function apiStates(
  cluster: Cluster,
  { ids, sinceMs }: { ids: readonly string[]; sinceMs: number },
): Promise<Map<string, JobState>> {
  const states = new Map<string, JobState>();
  let cursor: string | undefined;
  do {
    const page = await cluster.ask((client) => client.list({ limit: 500, cursor, sinceMs }));
    for (const { id, state } of page.items) states.set(id, state);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  for (const id of ids.filter((each) => !states.has(each)).slice(0, singlyLimit)) {
    const state = await cluster.ask((client) => stateOf(client, id));
    if (state !== null) states.set(id, state);
  }
  return states;
}

async function stateOf(client: HubClient, id: string): Promise<JobState | null> {
  try {
    return (await client.get(id)).state;
  } catch (error) {
    if (error instanceof EmpError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

/** `results/<job>/<token>/<name>` as the folder store keeps them: `<name>~object/meta.json`. */
function effectLines(objectsDir: string, isOurs: (jobId: string) => boolean): HistoryLine[] {
  const lines: HistoryLine[] = [];
  for (const jobId of folders(join(objectsDir, 'results')).filter(isOurs)) {
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
