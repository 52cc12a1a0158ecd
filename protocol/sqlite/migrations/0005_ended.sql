-- Retention asks which jobs ended first: without an index it would read every row each time.
CREATE INDEX jobs_ended ON jobs (finished_at_ms) WHERE finished_at_ms IS NOT NULL;
