import type { NewJob, Records, SubmitRowAnswer } from '#protocol/records.ts';
import {
  markJob,
  requestDocument,
  submitChange,
  submitFact,
  submittedJob,
} from '#protocol/records-submits.ts';
import { storableText, type Transaction } from './database.ts';
import type { GroupCommit } from './group-commit.ts';
import { readJobs } from './job-rows.ts';
import { changeColumns, factColumns } from './ledgers.ts';

/** How jobs get in: submit, and the broker's mark. */

/** JSON that one statement may carry, characters; a single job may have more. */
const statementLimit = 8_000_000;

/**
 * Ordinals in the order of submission, locks in the order of ids: commits that bring the same ids
 * meet at the first and not crosswise (several statements may, and the server then rolls one back).
 */
const insertJobs = `WITH input AS MATERIALIZED (
  SELECT nextval('emp.jobs_ordinal_seq') AS ordinal, x.* FROM (
    SELECT * FROM json_to_recordset($1) AS x(n integer, id text, state text, service text, pool text, customer text, group_id text, affinity text,
      priority integer, expected_ms bigint, max_run_ms bigint, max_attempts integer, submitted_at_ms double precision, not_before_ms double precision,
      expires_at_ms double precision, fingerprint text, limited boolean, preemptible boolean, document text, labels json, change json, fact json) ORDER BY n) x
), job AS (
  INSERT INTO emp.jobs (ordinal, id, state, service, pool, customer, group_id, affinity, priority, expected_ms, max_run_ms, max_attempts,
    submitted_at_ms, not_before_ms, expires_at_ms, fingerprint, limited, preemptible)
  SELECT ordinal, id, state, service, pool, customer, group_id, affinity, priority, expected_ms, max_run_ms, max_attempts,
    submitted_at_ms, not_before_ms, expires_at_ms, fingerprint, limited, preemptible FROM input ORDER BY id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING ordinal
), request AS (
  INSERT INTO emp.job_requests (job, document) SELECT ordinal, document FROM input JOIN job USING (ordinal)
), label AS (
  INSERT INTO emp.job_labels (key, value, submitted_at_ms, job)
  SELECT l.key, l.value, submitted_at_ms, ordinal FROM input JOIN job USING (ordinal), json_to_recordset(input.labels) AS l(key text, value text)
  ON CONFLICT DO NOTHING
), change AS (
  INSERT INTO emp.transitions (job, from_state, to_state, operation, actor, reason, token, at_ms)
  SELECT ordinal, c.from_state, c.to_state, c.operation, c.actor, c.reason, c.token, c.at_ms FROM input JOIN job USING (ordinal),
    json_to_record(input.change) AS c(from_state text, to_state text, operation text, actor text, reason text, token bigint, at_ms double precision)
    ORDER BY ordinal
), fact AS (
  INSERT INTO emp.events (type, job_id, machine_id, data, at_ms)
  SELECT f.type, f.job_id, f.machine_id, f.data, f.at_ms FROM input JOIN job USING (ordinal),
    json_to_record(input.fact) AS f(type text, job_id text, machine_id text, data text, at_ms double precision) ORDER BY ordinal
)
SELECT n FROM input JOIN job USING (ordinal)`;

function jobColumns(job: NewJob, n: number, nowMs: number) {
  return {
    n,
    id: job.id,
    state: job.state,
    service: job.service,
    pool: job.pool,
    customer: job.customer,
    group_id: job.group,
    affinity: job.affinity,
    priority: job.priority,
    expected_ms: job.expectedMs,
    max_run_ms: job.maxRunMs,
    max_attempts: job.maxAttempts,
    submitted_at_ms: nowMs,
    not_before_ms: job.notBeforeMs,
    expires_at_ms: job.expiresAtMs,
    fingerprint: job.fingerprint,
    limited: job.limited,
    preemptible: job.preemptible,
    document: requestDocument(job),
    labels: Object.entries(job.labels).map(([key, value]) => ({
      key: storableText(key),
      value: storableText(value),
    })),
    change: changeColumns(submitChange(job, nowMs), 0),
    fact: factColumns(submitFact(job, nowMs), 0),
  };
}

interface Submission {
  job: NewJob;
  nowMs: number;
}

/** Places in `submissions` of those that are new now. */
async function insertNew(tx: Transaction, submissions: Submission[]): Promise<Set<number>> {
  const created = new Set<number>();
  let texts: string[] = [];
  let size = 0;
  const flush = async () => {
    for (const { n } of await tx.query<{ n: number }>(insertJobs, [`[${texts.join(',')}]`])) created.add(n);
    texts = [];
    size = 0;
  };
  for (const [n, { job, nowMs }] of submissions.entries()) {
    const text = JSON.stringify(jobColumns(job, n, nowMs));
    if (texts.length > 0 && size + text.length > statementLimit) await flush();
    texts.push(text);
    size += text.length;
  }
  if (texts.length > 0) await flush();
  return created;
}

/** One answer per call, each in the order of its jobs. */
export async function submitAll(
  tx: Transaction,
  calls: { jobs: NewJob[]; nowMs: number }[],
): Promise<SubmitRowAnswer[][]> {
  const first = new Map<string, Submission>();
  for (const { jobs, nowMs } of calls)
    for (const job of jobs) if (!first.has(job.id)) first.set(job.id, { job, nowMs });
  const submissions = [...first.values()];
  const places = await insertNew(tx, submissions);
  const created = new Set([...places].map((n) => submissions[n]?.job.id));
  const others = [...first.keys()].filter((id) => !created.has(id));
  const known = new Map((await readJobs(tx, others)).map((each) => [each.job.id, each]));
  const answer = (job: NewJob): SubmitRowAnswer => {
    const original = first.get(job.id);
    const stored = known.get(job.id) ?? (original && storedBy(original));
    if (!stored) throw new Error(`job ${job.id} was neither created nor found`);
    // The first of this commit that names it has made it.
    if (created.delete(job.id)) return { kind: 'created', job: stored.job };
    if (stored.fingerprint !== job.fingerprint) return { kind: 'conflict', jobId: job.id };
    return { kind: 'exists', job: stored.job };
  };
  return calls.map(({ jobs }) => jobs.map(answer));
}

const storedBy = ({ job, nowMs }: Submission) => {
  return { job: submittedJob(job, nowMs), fingerprint: job.fingerprint };
};

export function submitMethods(commits: GroupCommit): Pick<Records, 'submitJobs' | 'markBrokered'> {
  return {
    submitJobs: (jobs, nowMs) => commits.submit(jobs, nowMs),

    markBrokered: (jobs, nowMs) => {
      const marks = jobs.map((job) => (typeof job === 'string' ? { jobId: job, fenceFloor: null } : job));
      return commits.change(
        marks.map(({ jobId }) => jobId),
        (find) => {
          for (const { jobId, fenceFloor } of marks) {
            const ledger = find(jobId);
            if (ledger) markJob(ledger, fenceFloor, nowMs);
          }
        },
      );
    },
  };
}
