-- Pools and services whose work nobody is given until an operator says so.
CREATE TABLE pauses (
  kind TEXT NOT NULL CHECK (kind IN ('pool', 'service')),
  name TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  since_ms REAL NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
