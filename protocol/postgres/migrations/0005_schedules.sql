-- Jobs that come again and again. `document` is the definition, `last` what became of the newest time.
CREATE TABLE emp.schedules (
  name text COLLATE "C" PRIMARY KEY,
  document text NOT NULL,
  next_at_ms double precision,
  last text,
  last_job text COLLATE "C",
  actor text NOT NULL,
  created_at_ms double precision NOT NULL,
  updated_at_ms double precision NOT NULL
);
CREATE INDEX schedules_due ON emp.schedules (next_at_ms) WHERE next_at_ms IS NOT NULL;
