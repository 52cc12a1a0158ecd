import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import { type Migration, migrationsAhead, numberedMigrations } from '#protocol/migrations.ts';
import type { Database } from './database.ts';

/** Brings a file to the newest form; the rules of its history are in #protocol/migrations.ts. */

export const migrationsFolder = join(import.meta.dirname, 'migrations');

/** Marks the file as ours: `EMPR`. */
const applicationId = 0x454d5052;

function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql'));
  return numberedMigrations(
    folder,
    names.map((name) => ({ name, sql: readFileSync(join(folder, name), 'utf8') })),
  );
}

const historyTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at_ms REAL NOT NULL) STRICT`;

/** Runs inside a transaction of its caller; throws `CONFIG_INVALID` with what to do. */
export function migrate(db: Database, options: { folder: string; nowMs: number }): void {
  const known = readMigrations(options.folder);
  const id = Number(db.get('PRAGMA application_id')?.application_id);
  const tables = Number(db.get("SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table'")?.n);
  if (id !== applicationId && tables > 0) {
    const detail = `${db.path} is a database of another program. Point the data folder elsewhere, or move that file away.`;
    throw new EmpError('CONFIG_INVALID', { detail });
  }
  if (id !== applicationId) db.exec(`PRAGMA application_id = ${applicationId}`);
  db.exec(historyTable);
  const applied = db.all('SELECT number, name, sha256 FROM schema_migrations ORDER BY number').map((row) => ({
    number: Number(row.number),
    name: String(row.name),
    sha256: String(row.sha256),
  }));
  for (const migration of migrationsAhead(db.path, applied, known)) {
    db.exec(migration.sql);
    const { number, name, sha256 } = migration;
    db.run(
      'INSERT INTO schema_migrations (number, name, sha256, applied_at_ms) VALUES (?, ?, ?, ?)',
      number,
      name,
      sha256,
      options.nowMs,
    );
  }
}
