-- Retention asks which jobs ended first: without an index it would read every row each time.
CREATE INDEX jobs_ended ON emp.jobs (finished_at_ms, ordinal) WHERE finished_at_ms IS NOT NULL;
