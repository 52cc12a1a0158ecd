-- Jobs that are accepted and not begun, for limits on how many may be; customers have an index of their
-- states already. It reads all jobs once while submits wait: where they are many, make it by hand before
-- (CREATE INDEX CONCURRENTLY, same name and text).
CREATE INDEX IF NOT EXISTS jobs_waiting ON emp.jobs (pool, affinity) WHERE state IN ('scheduled', 'held', 'waiting');
