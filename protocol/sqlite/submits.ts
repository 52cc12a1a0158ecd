import type { Job } from '#protocol/job.ts';
import type { NewJob, Records, SubmitRowAnswer } from '#protocol/records.ts';
import { requestDocument, submitChange, submitFact, submittedJob } from '#protocol/records-submits.ts';
import type { Database } from './database.ts';
import { readJob, stateIs } from './job-rows.ts';
import { writeEntries } from './ledger.ts';

/** How jobs get in: submit, and the broker's mark. */

/** A known id adds nothing. `OR FAIL`: see database.ts. */
const insertJob = `INSERT OR FAIL INTO jobs (id, state, service, pool, customer, group_id, affinity, priority, expected_ms, max_run_ms,
  max_attempts, submitted_at_ms, not_before_ms, expires_at_ms, fingerprint, limited, preemptible) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO NOTHING`;

function known(db: Database, job: NewJob): SubmitRowAnswer {
  const row = db.get('SELECT fingerprint FROM jobs WHERE id = ?', job.id);
  if (row?.fingerprint !== job.fingerprint) return { kind: 'conflict', jobId: job.id };
  return { kind: 'exists', job: readJob(db, job.id) as Job };
}

function submitOne(db: Database, job: NewJob, nowMs: number): SubmitRowAnswer {
  const ordinal = db.insert(
    insertJob,
    job.id,
    job.state,
    job.service,
    job.pool,
    job.customer,
    job.group,
    job.affinity,
    job.priority,
    job.expectedMs,
    job.maxRunMs,
    job.maxAttempts,
    nowMs,
    job.notBeforeMs,
    job.expiresAtMs,
    job.fingerprint,
    Number(job.limited),
    Number(job.preemptible),
  );
  if (ordinal === null) return known(db, job);
  db.run('INSERT INTO job_requests (job, document) VALUES (?, ?)', ordinal, requestDocument(job));
  for (const [key, value] of Object.entries(job.labels)) {
    db.run(
      'INSERT INTO job_labels (key, value, submitted_at_ms, job) VALUES (?, ?, ?, ?)',
      key,
      value,
      nowMs,
      ordinal,
    );
  }
  const entries = { changes: [submitChange(job, nowMs)], facts: [submitFact(job, nowMs)] };
  writeEntries(db, ordinal, entries);
  return { kind: 'created', job: submittedJob(job, nowMs) };
}

const markBrokered = `UPDATE jobs SET brokered_at_ms = ? WHERE id = ? AND brokered_at_ms IS NULL AND fence_floor <= CAST(? AS INTEGER)
  AND ${stateIs('state', 'scheduled', 'waiting', 'leased')}`;
/** Above every token. */
const anyFloor = '9999999999999999';

export function submitMethods(db: Database): Pick<Records, 'submitJobs' | 'markBrokered'> {
  return {
    submitJobs: (jobs, nowMs) => db.write(() => jobs.map((job) => submitOne(db, job, nowMs)), jobs.length),

    markBrokered: (jobs, nowMs) =>
      db.write(
        () => {
          for (const job of jobs) {
            const [id, floor] = typeof job === 'string' ? [job, anyFloor] : [job.jobId, job.fenceFloor];
            db.run(markBrokered, nowMs, id, floor);
          }
        },
        Math.ceil(jobs.length / 4),
      ),
  };
}
