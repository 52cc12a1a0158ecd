-- Runs that may be given back for a job that is much more urgent, and the jobs that may ask for it.
ALTER TABLE jobs ADD COLUMN preemptible INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_preemptible ON jobs (priority, started_at_ms DESC) WHERE preemptible = 1 AND state = 'leased';
CREATE INDEX jobs_urgent ON jobs (priority DESC, submitted_at_ms) WHERE state = 'waiting' AND priority > 50;
