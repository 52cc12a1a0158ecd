-- Runs that may be given back for a job that is much more urgent, and the jobs that may ask for it. Where
-- jobs are many, add the column and make both indexes by hand before (CREATE INDEX CONCURRENTLY, same text).
ALTER TABLE emp.jobs ADD COLUMN IF NOT EXISTS preemptible boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS jobs_preemptible ON emp.jobs (priority, started_at_ms DESC, ordinal) WHERE preemptible AND state = 'leased';
CREATE INDEX IF NOT EXISTS jobs_urgent ON emp.jobs (priority DESC, submitted_at_ms, ordinal) WHERE state = 'waiting' AND priority > 50;
