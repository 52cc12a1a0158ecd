-- What is done to many jobs at once, and how far it has come.
CREATE TABLE bulks (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  document TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'aborted')),
  done INTEGER NOT NULL,
  refused INTEGER NOT NULL,
  cursor TEXT,
  updated_at_ms REAL NOT NULL
) STRICT;
CREATE INDEX bulks_running ON bulks (number) WHERE state = 'running';
