-- Limits on how much of a customer, pool or model is under way, and pauses of customers. A job that they
-- count is `limited`; those that are let in and have not ended are what a limit counts. Each index reads
-- all jobs once while submits wait: where they are many, add the column and make them by hand before
-- (CREATE INDEX CONCURRENTLY, same names and text).
ALTER TABLE emp.jobs ADD COLUMN IF NOT EXISTS limited boolean NOT NULL DEFAULT false;

CREATE INDEX IF NOT EXISTS jobs_held_work ON emp.jobs (customer, pool, affinity, priority DESC, submitted_at_ms, ordinal) WHERE state = 'held';
CREATE INDEX IF NOT EXISTS jobs_held_due ON emp.jobs (not_before_ms) WHERE state = 'held' AND not_before_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_admitted ON emp.jobs (customer, pool, affinity) WHERE limited AND state IN ('waiting', 'leased');

CREATE TABLE emp.limits (
  name text COLLATE "C" PRIMARY KEY,
  document text NOT NULL,
  actor text NOT NULL,
  created_at_ms double precision NOT NULL,
  updated_at_ms double precision NOT NULL
);

-- When the next job under a rate would come if all came evenly; `key` names what is counted together.
CREATE TABLE emp.limit_rates (key text COLLATE "C" PRIMARY KEY, arrival_ms double precision NOT NULL);
CREATE INDEX limit_rates_old ON emp.limit_rates (arrival_ms);

-- Apart from those of pools and services: a hub of the version before takes every other kind for a service.
CREATE TABLE emp.paused_customers (
  name text COLLATE "C" PRIMARY KEY,
  reason text NOT NULL,
  actor text NOT NULL,
  since_ms double precision NOT NULL
);
