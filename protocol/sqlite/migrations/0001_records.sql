-- The first shape of the store. A migration is never edited after it was released: its checksum is
-- kept in the store, and a store whose history differs is refused. Later changes are 0002_….sql.
-- Times are ms since 1970 (REAL: a broker's clock has microseconds). Tokens are integers below 1e16.

-- One row per job: what changes and what is searched. The documents lie beside it, so that a change
-- of state does not rewrite a megabyte of payload.
CREATE TABLE jobs (
  ordinal INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('scheduled', 'held', 'waiting', 'leased', 'succeeded', 'failed', 'cancelled', 'dead')),
  service TEXT NOT NULL,
  pool TEXT NOT NULL,
  customer TEXT NOT NULL,
  group_id TEXT NOT NULL,
  affinity TEXT NOT NULL,
  priority INTEGER NOT NULL,
  expected_ms INTEGER NOT NULL,
  max_run_ms INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  runs INTEGER NOT NULL DEFAULT 0,
  -- Runs before the last requeue: an operator's second chance gets the whole limit again.
  runs_at_requeue INTEGER NOT NULL DEFAULT 0,
  submitted_at_ms REAL NOT NULL,
  not_before_ms REAL,
  expires_at_ms REAL,
  started_at_ms REAL,
  finished_at_ms REAL,
  cancel_requested_at_ms REAL,
  brokered_at_ms REAL,
  fence_floor INTEGER NOT NULL DEFAULT 0,
  token INTEGER,
  machine_id TEXT,
  incarnation INTEGER,
  progress REAL NOT NULL DEFAULT 0,
  error TEXT,
  reason TEXT,
  fingerprint TEXT NOT NULL
) STRICT;

-- Lists: newest first. The row's ordinal ends every index and breaks ties.
CREATE INDEX jobs_by_time ON jobs (submitted_at_ms);
CREATE INDEX jobs_by_state ON jobs (state, submitted_at_ms);
CREATE INDEX jobs_by_service ON jobs (service, submitted_at_ms);
CREATE INDEX jobs_by_customer ON jobs (customer, submitted_at_ms);
CREATE INDEX jobs_by_pool ON jobs (pool, submitted_at_ms);
CREATE INDEX jobs_by_machine ON jobs (machine_id, submitted_at_ms) WHERE machine_id IS NOT NULL;

-- Sweeps: each index holds only the rows that its sweep can find.
CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('scheduled', 'held', 'waiting', 'leased');
CREATE INDEX jobs_unbrokered ON jobs (submitted_at_ms)
  WHERE brokered_at_ms IS NULL AND cancel_requested_at_ms IS NULL AND state IN ('scheduled', 'waiting', 'leased');
CREATE INDEX jobs_cancelling ON jobs (cancel_requested_at_ms)
  WHERE cancel_requested_at_ms IS NOT NULL AND state IN ('scheduled', 'held', 'waiting', 'leased');
CREATE INDEX jobs_expiring ON jobs (expires_at_ms)
  WHERE expires_at_ms IS NOT NULL AND token IS NULL AND state IN ('scheduled', 'held', 'waiting');
CREATE INDEX jobs_overdue ON jobs (started_at_ms + max_run_ms) WHERE state = 'leased';
CREATE INDEX jobs_held ON jobs (customer, pool, priority DESC, submitted_at_ms) WHERE state = 'held';

-- What the client sent: {payload, inputs, requirements, labels, models, traceparent}.
CREATE TABLE job_requests (
  job INTEGER PRIMARY KEY REFERENCES jobs (ordinal) ON DELETE CASCADE,
  document TEXT NOT NULL
) STRICT;

CREATE TABLE job_results (
  job INTEGER PRIMARY KEY REFERENCES jobs (ordinal) ON DELETE CASCADE,
  document TEXT NOT NULL
) STRICT;

CREATE TABLE job_labels (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  submitted_at_ms REAL NOT NULL,
  job INTEGER NOT NULL REFERENCES jobs (ordinal) ON DELETE CASCADE,
  PRIMARY KEY (key, value, submitted_at_ms, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_labels_by_job ON job_labels (job);

-- One row per execution: at its recorded claim, or at its end if the claim was never recorded.
CREATE TABLE runs (
  job INTEGER NOT NULL REFERENCES jobs (ordinal) ON DELETE CASCADE,
  token INTEGER NOT NULL,
  run INTEGER NOT NULL,
  machine_id TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  started_at_ms REAL NOT NULL,
  ended_at_ms REAL,
  outcome TEXT NOT NULL CHECK (outcome IN ('running', 'succeeded', 'failed', 'released', 'expired', 'cancelled')),
  counted INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  -- Which of the broker's events were copied: (job, token, kind) is copied once.
  leased_copied INTEGER NOT NULL DEFAULT 0,
  adopted_copied INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (job, token)
) STRICT, WITHOUT ROWID;

-- One row per committed change of state.
CREATE TABLE transitions (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs (ordinal) ON DELETE CASCADE,
  from_state TEXT,
  to_state TEXT NOT NULL,
  operation TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT,
  token INTEGER,
  at_ms REAL NOT NULL
) STRICT;
CREATE INDEX transitions_by_job ON transitions (job);

CREATE TABLE previews (
  job INTEGER PRIMARY KEY REFERENCES jobs (ordinal) ON DELETE CASCADE,
  token INTEGER NOT NULL,
  mime TEXT NOT NULL,
  bytes BLOB NOT NULL,
  stored_at_ms REAL NOT NULL
) STRICT;

-- One row per fact. A single writer at a time makes ids rise in commit order without gaps, so `seq`
-- is the id, and a fact has it once the recorder's mark in event_marks has passed it.
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  type TEXT NOT NULL,
  job_id TEXT,
  machine_id TEXT,
  data TEXT NOT NULL,
  at_ms REAL NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX events_by_type ON events (type);

-- Single rows by name: `seq` = highest event that readers may see.
CREATE TABLE event_marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO event_marks (name, value) VALUES ('seq', 0);

-- How far each broker's events were copied.
CREATE TABLE recorder_cursors (identity TEXT PRIMARY KEY, cursor INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE machines (
  machine_id TEXT PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  class_id TEXT NOT NULL,
  machine_class TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('joined', 'lost', 'left')),
  cordoned INTEGER NOT NULL DEFAULT 0,
  draining INTEGER NOT NULL DEFAULT 0,
  joined_at_ms REAL NOT NULL,
  last_seen_at_ms REAL NOT NULL,
  hub_id TEXT,
  report TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;
CREATE INDEX machines_by_seen ON machines (last_seen_at_ms);

CREATE TABLE machine_classes (
  class_id TEXT PRIMARY KEY,
  machine_class TEXT NOT NULL,
  seen_at_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- `groups` is a keyword of SQL.
CREATE TABLE requirement_groups (group_id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE models (model_id TEXT PRIMARY KEY, manifest TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- A row is never removed: its token must rise with the next holder.
CREATE TABLE singletons (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  token INTEGER NOT NULL,
  until_ms REAL NOT NULL,
  ttl_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- ping() writes here: only a real commit shows that the store can commit.
CREATE TABLE pings (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms REAL NOT NULL) STRICT;
