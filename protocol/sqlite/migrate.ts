import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import type { Database } from './database.ts';

/**
 * Brings a store to the newest form. Migrations are numbered from 1 without gaps and never edited:
 * each one's checksum is kept in the store. A store that another version has written to, or whose
 * history differs from ours, is refused before anything is read from it.
 */

export const migrationsFolder = join(import.meta.dirname, 'migrations');

/** Marks the file as ours: `EMPR`. */
const applicationId = 0x454d5052;

interface Migration {
  number: number;
  name: string;
  sql: string;
  sha256: string;
}

export function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  return names.map((name, index) => {
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1]);
    if (number !== index + 1) {
      throw new EmpError('CONFIG_INVALID', {
        detail: `${join(folder, name)}: migrations are named 0001_what.sql, 0002_what.sql … without a gap.`,
      });
    }
    const sql = readFileSync(join(folder, name), 'utf8');
    return { number, name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
  });
}

function refuse(detail: string): never {
  throw new EmpError('CONFIG_INVALID', { detail });
}

/** Throws unless what the store went through is the beginning of what we know. */
function checkHistory(
  path: string,
  applied: { number: number; name: string; sha256: string }[],
  known: Migration[],
): void {
  for (const row of applied) {
    const ours = known[row.number - 1];
    if (!ours) {
      refuse(
        `The record store ${path} was written by a newer version of emp (migration ${row.name}). Run that version, or restore a backup made before the upgrade.`,
      );
    }
    if (ours.sha256 !== row.sha256 || ours.name !== row.name) {
      refuse(
        `Migration ${ours.name} is not the one that made the record store ${path} (then ${row.name}). Migrations are never edited: restore the file, and add a new one for the change.`,
      );
    }
  }
}

const historyTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at_ms REAL NOT NULL) STRICT`;

/** Runs inside a transaction of its caller; throws `CONFIG_INVALID` with what to do. */
export function migrate(db: Database, options: { folder: string; nowMs: number }): void {
  const known = readMigrations(options.folder);
  const id = Number(db.get('PRAGMA application_id')?.application_id);
  const tables = Number(db.get("SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table'")?.n);
  if (id !== applicationId && tables > 0) {
    refuse(
      `${db.path} is a database of another program. Point the data folder elsewhere, or move that file away.`,
    );
  }
  if (id !== applicationId) db.exec(`PRAGMA application_id = ${applicationId}`);
  db.exec(historyTable);
  const applied = db.all('SELECT number, name, sha256 FROM schema_migrations ORDER BY number').map((row) => ({
    number: Number(row.number),
    name: String(row.name),
    sha256: String(row.sha256),
  }));
  checkHistory(db.path, applied, known);
  for (const migration of known.slice(applied.length)) {
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
