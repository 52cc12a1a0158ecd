-- Pools and services whose work nobody is given until an operator says so.
CREATE TABLE emp.pauses (
  kind text COLLATE "C" NOT NULL CHECK (kind IN ('pool', 'service')),
  name text COLLATE "C" NOT NULL,
  reason text NOT NULL,
  actor text NOT NULL,
  since_ms double precision NOT NULL,
  PRIMARY KEY (kind, name)
);
