-- What is done to many jobs at once, and how far it has come.
CREATE TABLE emp.bulks (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  document text NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'done', 'aborted')),
  done integer NOT NULL,
  refused integer NOT NULL,
  cursor text,
  updated_at_ms double precision NOT NULL
);
CREATE INDEX bulks_running ON emp.bulks (number) WHERE state = 'running';
