import { EmpError } from '#protocol/errors.ts';
import type { JobError, RunOutcome } from '#protocol/job.ts';
import type { MachineRef } from '#protocol/names.ts';
import type { Records } from '#protocol/records.ts';
import type { FencingToken } from '#protocol/token.ts';
import type { Database } from './database.ts';
import { type Guard, readGuard } from './job-rows.ts';

/** One row per execution, and what a run leaves besides its result. */

export interface RunRow {
  run: number;
  token: FencingToken;
  machineId: string;
  incarnation: number;
  outcome: RunOutcome;
  counted: boolean;
  leasedCopied: boolean;
  adoptedCopied: boolean;
}

export function readRun(db: Database, ordinal: number, token: FencingToken): RunRow | null {
  const row = db.get(
    'SELECT run, machine_id, incarnation, outcome, counted, leased_copied, adopted_copied FROM runs WHERE job = ? AND token = CAST(? AS INTEGER)',
    ordinal,
    token,
  );
  if (!row) return null;
  return {
    run: Number(row.run),
    token,
    machineId: String(row.machine_id),
    incarnation: Number(row.incarnation),
    outcome: row.outcome as RunOutcome,
    counted: row.counted === 1,
    leasedCopied: row.leased_copied === 1,
    adoptedCopied: row.adopted_copied === 1,
  };
}

/** Adds the run if it is not there; answers how many runs the job has had since it was submitted. */
export function openRun(
  db: Database,
  guard: Guard,
  options: { token: FencingToken; holder: MachineRef; startedAtMs: number },
): number {
  if (readRun(db, guard.ordinal, options.token)) return guard.runs;
  const run = guard.runs + 1;
  db.run(
    "INSERT INTO runs (job, token, run, machine_id, incarnation, started_at_ms, outcome) VALUES (?, ?, ?, ?, ?, ?, 'running')",
    guard.ordinal,
    options.token,
    run,
    options.holder.machineId,
    options.holder.incarnation,
    options.startedAtMs,
  );
  db.run('UPDATE jobs SET runs = ? WHERE ordinal = ?', run, guard.ordinal);
  guard.runs = run;
  return run;
}

/** Ends the run's row if it is still open; one that has ended keeps its first end. */
export function closeRun(
  db: Database,
  guard: Guard,
  end: { token: FencingToken; outcome: RunOutcome; counted: boolean; error: JobError | null; nowMs: number },
): void {
  db.run(
    "UPDATE runs SET outcome = ?, counted = ?, error = ?, ended_at_ms = ? WHERE job = ? AND token = CAST(? AS INTEGER) AND outcome = 'running'",
    end.outcome,
    end.counted ? 1 : 0,
    end.error === null ? null : JSON.stringify(end.error),
    end.nowMs,
    guard.ordinal,
    end.token,
  );
}

export const previewLimitBytes = 65_536;

const putPreview = `INSERT INTO previews (job, token, mime, bytes, stored_at_ms) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (job) DO UPDATE SET token = excluded.token, mime = excluded.mime, bytes = excluded.bytes, stored_at_ms = excluded.stored_at_ms
  WHERE excluded.token >= previews.token`;

const overdue = `SELECT id, CAST(token AS TEXT) AS token, machine_id, incarnation FROM jobs INDEXED BY jobs_overdue
  WHERE state = 'leased' AND started_at_ms + max_run_ms < ? ORDER BY started_at_ms + max_run_ms, ordinal LIMIT ?`;

export function runMethods(db: Database): Pick<Records, 'overdueRuns' | 'putPreview' | 'getPreview'> {
  return {
    overdueRuns: ({ nowMs, limit }) =>
      db.read(() =>
        db.all(overdue, nowMs, limit).map((row) => ({
          jobId: String(row.id),
          token: String(row.token),
          machineId: String(row.machine_id),
          incarnation: Number(row.incarnation),
        })),
      ),

    putPreview: ({ jobId, token, mime, bytes, nowMs }) =>
      db.write(() => {
        if (bytes.byteLength > previewLimitBytes) {
          const detail = `A preview has at most ${previewLimitBytes} bytes; this one has ${bytes.byteLength}. Send it smaller.`;
          throw new EmpError('BODY_TOO_LARGE', { detail, fields: { jobId } });
        }
        const guard = readGuard(db, jobId);
        if (!guard)
          throw new EmpError('NOT_FOUND', {
            detail: `There is no job ${jobId} to keep a preview for.`,
            fields: { jobId },
          });
        db.run(putPreview, guard.ordinal, token, mime, bytes, nowMs);
      }),

    getPreview: (jobId) =>
      db.read(() => {
        const row = db.get(
          'SELECT p.mime, p.bytes, CAST(p.token AS TEXT) AS token FROM previews p JOIN jobs j ON j.ordinal = p.job WHERE j.id = ?',
          jobId,
        );
        return row
          ? { mime: String(row.mime), bytes: row.bytes as Uint8Array, token: String(row.token) }
          : null;
      }),
  };
}
