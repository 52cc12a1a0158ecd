-- Limits on how much of a customer, pool or model is under way, and pauses of customers. A job that they
-- count is `limited`; those that are let in and have not ended are what a limit counts.
ALTER TABLE jobs ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;

DROP INDEX jobs_held;
CREATE INDEX jobs_held ON jobs (customer, pool, affinity, priority DESC, submitted_at_ms) WHERE state = 'held';
CREATE INDEX jobs_held_due ON jobs (not_before_ms) WHERE state = 'held' AND not_before_ms IS NOT NULL;
CREATE INDEX jobs_admitted ON jobs (customer, pool, affinity) WHERE limited = 1 AND (state = 'waiting' OR state = 'leased');

CREATE TABLE limits (
  name TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  actor TEXT NOT NULL,
  created_at_ms REAL NOT NULL,
  updated_at_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- When the next job under a rate would come if all came evenly; `key` names what is counted together.
CREATE TABLE limit_rates (key TEXT PRIMARY KEY, arrival_ms REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX limit_rates_old ON limit_rates (arrival_ms);

CREATE TABLE paused_customers (
  name TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  since_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;
