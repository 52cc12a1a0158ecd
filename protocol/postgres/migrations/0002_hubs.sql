-- The hubs that share this store: who runs, where the others reach it, and until when its word stands
-- by this server's clock. A row outlives its hub for a day, so that the number of its starts rises.
CREATE TABLE emp.hubs (
  hub_id text COLLATE "C" PRIMARY KEY,
  run bigint NOT NULL,
  url text,
  version text NOT NULL,
  started_at_ms double precision NOT NULL,
  until_ms double precision NOT NULL,
  ttl_ms double precision NOT NULL
);
