import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { isBusy, sqliteFailure, storeClosed } from './failures.ts';

/** Rows that one commit may write before the next takes over: bounds how long the event loop stands still. */
const commitWeightLimit = 256;
/** Commits that may wait, e.g. while another process holds the lock. */
const waitingLimit = 20_000;
/** How long SQLite itself waits for a lock, ms: this blocks the event loop, so it is short. */
const blockingWaitMs = 5;
/** Between two tries for the lock, ms: the event loop runs meanwhile. */
const lockRetryMs = 20;

export type Row = Record<string, SQLInputValue>;

export interface DatabaseOptions {
  path: string;
  clock: Clock;
  /** Calls `fn` once, after the I/O callbacks of this turn of the event loop: who comes until then shares the commit. */
  nextTurn: (fn: () => void) => void;
  /** How long a commit may wait for another process's lock before it is refused, ms. */
  lockWaitMs: number;
}

interface Waiting {
  work: () => unknown;
  weight: number;
  sinceMs: number;
  settle: (outcome: Outcome) => void;
}

type Outcome = { ok: true; value: unknown } | { ok: false; error: unknown };

/**
 * One connection with cached statements and group commit. Writes that arrive in one turn share one
 * transaction (one fsync); one that throws leaves the others alone; nobody is answered before the
 * commit. The API of node:sqlite is synchronous: a transaction never spans a turn, so reads see only
 * what is committed.
 *
 * A statement that fails ends its whole transaction here, so it need not be undone by itself. Where a
 * trigger fires, say so with `OR FAIL`: else SQLite keeps a copy of each page that the statement
 * touches, which costs an insert a quarter of its time.
 */
export class Database {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #options: DatabaseOptions;
  readonly #statements = new Map<string, StatementSync>();
  #waiting: Waiting[] = [];
  #scheduled = false;
  #open = true;

  constructor(options: DatabaseOptions) {
    this.path = options.path;
    this.#options = options;
    try {
      this.#db = new DatabaseSync(options.path, {
        timeout: blockingWaitMs,
        enableForeignKeyConstraints: true,
      });
    } catch (error) {
      throw sqliteFailure(error, options.path);
    }
  }

  /** Statements without parameters, several at once; throws what SQLite throws. */
  exec(sql: string): void {
    this.#db.exec(sql);
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  /** Number of rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** Like `run`, for the insert of one row: its id; null where the statement found a reason to add nothing. */
  insert(sql: string, ...values: SQLInputValue[]): number | null {
    const { changes, lastInsertRowid } = this.#statement(sql).run(...values);
    return changes === 0 ? null : Number(lastInsertRowid);
  }

  /** Several reads that see one state. */
  read<T>(work: () => T): Promise<T> {
    return this.readOne(() => {
      this.run('BEGIN');
      try {
        return work();
      } finally {
        if (this.#db.isTransaction) this.run('COMMIT');
      }
    });
  }

  /** A read of one statement, which sees one state by itself: no transaction is begun for it. */
  async readOne<T>(work: () => T): Promise<T> {
    if (!this.#open) throw storeClosed(this.path);
    try {
      return work();
    } catch (error) {
      throw sqliteFailure(error, this.path);
    }
  }

  /**
   * Runs `work` in the next commit and answers after it. `work` may run twice (alone, after the
   * commit that it shared failed), so it touches nothing but this store. `weight` = rows of jobs.
   */
  write<T>(work: () => T, weight = 1): Promise<T> {
    if (!this.#open) return Promise.reject(storeClosed(this.path));
    if (this.#waiting.length >= waitingLimit) {
      const detail = `${waitingLimit} commits wait for the record store already. Try again later.`;
      return Promise.reject(new EmpError('RECORDS_UNAVAILABLE', { detail }));
    }
    return new Promise<T>((resolve, reject) => {
      const settle = (outcome: Outcome) =>
        outcome.ok ? resolve(outcome.value as T) : reject(sqliteFailure(outcome.error, this.path));
      this.#waiting.push({ work, weight, sinceMs: this.#options.clock.monotonic(), settle });
      this.#schedule();
    });
  }

  /** Commits what waits, then closes the file. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    while (this.#waiting.length > 0) this.#flush();
    this.#db.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.nextTurn(() => {
      this.#scheduled = false;
      if (this.#waiting.length > 0) this.#flush();
    });
  }

  #flush(): void {
    const group = this.#takeGroup();
    const begun = this.#begin();
    if (!begun.ok) return this.#notBegun(group, begun.error);
    this.#commit(group);
    if (this.#waiting.length > 0) this.#schedule();
  }

  #takeGroup(): Waiting[] {
    let weight = 0;
    let count = 0;
    for (const item of this.#waiting) {
      if (count > 0 && weight + item.weight > commitWeightLimit) break;
      weight += item.weight;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  #begin(): Outcome {
    try {
      this.run('BEGIN IMMEDIATE');
      return { ok: true, value: null };
    } catch (error) {
      return { ok: false, error };
    }
  }

  /** Locked by another process: who has waited too long is refused, the others try again. */
  #notBegun(group: Waiting[], error: unknown): void {
    const nowMs = this.#options.clock.monotonic();
    const retry = isBusy(error) && this.#open;
    const stay = retry ? group.filter((item) => nowMs - item.sinceMs < this.#options.lockWaitMs) : [];
    for (const item of group) if (!stay.includes(item)) item.settle({ ok: false, error });
    this.#waiting.unshift(...stay);
    if (this.#waiting.length === 0 || this.#scheduled) return;
    this.#scheduled = true;
    this.#options.clock.setTimeout(
      () => {
        this.#scheduled = false;
        if (this.#waiting.length > 0) this.#flush();
      },
      retry ? lockRetryMs : 0,
    );
  }

  /**
   * Inside a transaction: runs the group, commits, answers. Who throws takes the others' work along:
   * then each goes alone. That is rare, and a savepoint for each, which would spare them, makes SQLite
   * copy every page that the item touches.
   */
  #commit(group: Waiting[]): void {
    const outcomes: Outcome[] = [];
    try {
      for (const item of group) outcomes.push({ ok: true, value: item.work() });
      this.run('COMMIT');
    } catch (error) {
      // A full disk or an I/O error has rolled the transaction back on its own.
      if (this.#db.isTransaction) this.run('ROLLBACK');
      if (group.length === 1) group[0]?.settle({ ok: false, error });
      else for (const item of group) this.#commitAlone(item);
      return;
    }
    for (const [index, item] of group.entries()) item.settle(outcomes[index] as Outcome);
  }

  #commitAlone(item: Waiting): void {
    const begun = this.#begin();
    if (begun.ok) this.#commit([item]);
    else item.settle(begun);
  }
}
