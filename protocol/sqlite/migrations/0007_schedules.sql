-- Jobs that come again and again. `document` is the definition, `last` what became of the newest time.
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  next_at_ms REAL,
  last TEXT,
  last_job TEXT,
  actor TEXT NOT NULL,
  created_at_ms REAL NOT NULL,
  updated_at_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at_ms) WHERE next_at_ms IS NOT NULL;
