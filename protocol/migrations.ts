import { createHash } from 'node:crypto';
import { EmpError } from './errors.ts';

/**
 * The history of a store's schema. Migrations are numbered from 1 without gaps and never edited: each
 * one's checksum is kept in the store, and a store that a newer version has written to, or whose
 * history differs from ours, is refused before anything is read from it.
 */

export interface Migration {
  number: number;
  name: string;
  sql: string;
  sha256: string;
}

export type AppliedMigration = Pick<Migration, 'number' | 'name' | 'sha256'>;

function refuse(detail: string): never {
  throw new EmpError('CONFIG_INVALID', { detail });
}

/** `files` are those of one folder; throws `CONFIG_INVALID` naming the file that is out of order. */
export function numberedMigrations(folder: string, files: { name: string; sql: string }[]): Migration[] {
  const sorted = files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return sorted.map(({ name, sql }, index) => {
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1]);
    if (number !== index + 1)
      refuse(`${folder}/${name}: migrations are named 0001_what.sql, 0002_what.sql … without a gap.`);
    return { number, name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
  });
}

/** Throws unless what the store went through is the beginning of what we know; answers the rest. */
export function migrationsAhead(store: string, applied: AppliedMigration[], known: Migration[]): Migration[] {
  for (const [index, row] of applied.entries()) {
    const ours = known[index];
    if (!ours) {
      refuse(
        `The record store ${store} was written by a newer version of emp (migration ${row.name}). Run that version, or restore a backup made before the upgrade.`,
      );
    }
    if (ours.number !== row.number || ours.sha256 !== row.sha256 || ours.name !== row.name) {
      refuse(
        `Migration ${ours.name} is not the one that made the record store ${store} (then ${row.name}). Migrations are never edited: restore the file, and add a new one for the change.`,
      );
    }
  }
  return known.slice(applied.length);
}

/** What takes something away from hubs that still run the version before. */
const takesAway = /\b(DROP|RENAME|TRUNCATE|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE)\b/i;

/**
 * Hubs of two versions share a store while they are replaced: a migration adds (expand), and takes
 * away only what no version in use reads any more, in a file named `NNNN_contract_….sql`. Throws
 * `CONFIG_INVALID` naming the file that takes away without saying so.
 */
export function checkExpandThenContract(migrations: Migration[]): void {
  for (const { name, sql } of migrations) {
    const statements = sql.replaceAll(/--.*$/gm, '');
    const found = takesAway.exec(statements)?.[0];
    if (found === undefined || /^\d{4}_contract_/.test(name)) continue;
    refuse(
      `${name} has ${found}, which hubs of the version before may not survive. Add first; take away in a later release, in a migration named NNNN_contract_what.sql.`,
    );
  }
}
