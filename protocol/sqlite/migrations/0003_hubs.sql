-- The hubs that share this store: who runs, where the others reach it, and until when its word stands
-- by this store's clock. A row outlives its hub for a day, so that the number of its starts rises.

CREATE TABLE hubs (
  hub_id TEXT PRIMARY KEY,
  run INTEGER NOT NULL,
  url TEXT,
  version TEXT NOT NULL,
  started_at_ms REAL NOT NULL,
  until_ms REAL NOT NULL,
  ttl_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;
