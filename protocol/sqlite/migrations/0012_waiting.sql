-- Jobs that are accepted and not begun, for limits on how many may be. Customers have an index of their
-- states already. Nothing more is in it: the customer as its third column costs every submit twice as much.
CREATE INDEX jobs_waiting ON jobs (pool, affinity) WHERE (state = 'scheduled' OR state = 'held' OR state = 'waiting');
