import pg from 'pg';
import { type Clock, type Log, type Rng, sleep } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { driverFailure, isConflict, isLost, storeClosed } from './failures.ts';
import type { PostgresTarget } from './postgres-url.ts';

/** Calls that may wait for a connection of one pool. */
const waitingLimit = 2_000;
/** Tries of a transaction that the server rolled back because it met another. */
const triesLimit = 6;
/** Longest pause before such a try, ms; drawn at random up to it. */
const pauseLimitMs = 20;

export type Value = string | number | boolean | null | Uint8Array | readonly (string | number)[];
export type Row = Record<string, unknown>;

/** Statements of one transaction, one after the other. */
export interface Transaction {
  query<R = Row>(text: string, values?: readonly Value[]): Promise<R[]>;
}

export interface DatabaseOptions {
  target: PostgresTarget;
  /** Connections of this process, at least 4: two fifths write, the others read. */
  poolLimit: number;
  /** Longest time to get a connection, ms. */
  connectLimitMs: number;
  /** Longest time of one statement, ms; the server ends it. */
  statementLimitMs: number;
  /** Longest wait for a row that another session has locked, ms. */
  lockLimitMs: number;
  clock: Clock;
  rng: Rng;
  log: Log;
}

/** After the server should have ended a statement it gets this long to say so, ms. */
const silenceMs = 5_000;
/** A transaction in which nothing is asked for this long is ended by the server, ms: its hub has died. */
const idleTransactionMs = 30_000;

/**
 * Two bounded pools of one server. Writers have connections of their own, so that no crowd of readers
 * keeps a commit waiting. Statements are not named: the server plans each with the table as it is, and
 * poolers in transaction mode can stand between.
 */
export class Database {
  /** Host, port and database, without user and password: for messages. */
  readonly store: string;
  readonly #readers: pg.Pool;
  readonly #writers: pg.Pool;
  readonly #options: DatabaseOptions;
  #open = true;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.store = options.target.store;
    const writers = Math.ceil(options.poolLimit * 0.4);
    this.#writers = this.#pool(writers);
    this.#readers = this.#pool(options.poolLimit - writers);
  }

  /** One statement that changes nothing; asked again once if its connection turns out to be gone. */
  async query<R = Row>(text: string, values: readonly Value[] = []): Promise<R[]> {
    const ask = () => this.#withClient(this.#readers, (client) => this.#ask<R>(client, text, values));
    try {
      return await ask();
    } catch (error) {
      if (!isLost(error) || !this.#open) throw error;
      return await ask();
    }
  }

  /**
   * Runs `work` in a READ COMMITTED transaction and answers after the commit. What the server rolled
   * back because it met another transaction is run again, so `work` touches nothing but the store.
   * When the connection is lost the outcome may be unknown: the caller is told, never a half of it kept.
   */
  async transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let tried = 1; ; tried++) {
      const progress = { connected: false, begun: false };
      try {
        return await this.#withClient(this.#writers, (client) => {
          progress.connected = true;
          return this.#commit(client, work, () => {
            progress.begun = true;
          });
        });
      } catch (error) {
        // A connection of the pool may have died unnoticed: nothing was asked on it yet.
        const stale = isLost(error) && progress.connected && !progress.begun;
        if (!(isConflict(error) || stale) || tried >= triesLimit || !this.#open) throw error;
        if (!stale) await sleep(this.#options.clock, this.#options.rng.int(0, pauseLimitMs));
      }
    }
  }

  /** Waits for what is under way; whoever comes after is refused. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await Promise.all([this.#readers.end(), this.#writers.end()]);
  }

  #pool(max: number): pg.Pool {
    const { target, connectLimitMs, statementLimitMs, lockLimitMs, log } = this.#options;
    const pool = new pg.Pool({
      ...target.config,
      max,
      connectionTimeoutMillis: connectLimitMs,
      idleTimeoutMillis: 60_000,
      statement_timeout: statementLimitMs,
      query_timeout: statementLimitMs + silenceMs,
      lock_timeout: lockLimitMs,
      idle_in_transaction_session_timeout: idleTransactionMs,
      application_name: 'emp',
      keepAlive: true,
    });
    // A connection that dies is said twice: to whoever uses it, and here.
    const lost = (error: Error) => log.warn('records.connection_lost', { message: error.message });
    pool.on('error', lost);
    pool.on('connect', (client) => void client.on('error', lost));
    return pool;
  }

  async #withClient<T>(pool: pg.Pool, use: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    if (!this.#open) throw storeClosed(this.store);
    if (pool.waitingCount >= waitingLimit) {
      const detail = `${waitingLimit} calls wait for a connection to the record store already. Try again later.`;
      throw new EmpError('RECORDS_UNAVAILABLE', { detail });
    }
    const client = await pool.connect().catch((error: unknown) => {
      throw driverFailure(error, this.store);
    });
    let broken = true;
    try {
      const value = await use(client);
      broken = false;
      return value;
    } catch (error) {
      broken = isLost(error);
      throw toEmpError(error);
    } finally {
      client.release(broken);
    }
  }

  async #ask<R>(client: pg.PoolClient, text: string, values: readonly Value[]): Promise<R[]> {
    try {
      const { rows } = await client.query({ text, values: values.map(storable) });
      return rows as R[];
    } catch (error) {
      throw driverFailure(error, this.store);
    }
  }

  async #commit<T>(
    client: pg.PoolClient,
    work: (tx: Transaction) => Promise<T>,
    begun: () => void,
  ): Promise<T> {
    const ask = (text: string) => this.#ask(client, text, []);
    await ask('BEGIN');
    begun();
    let value: T;
    try {
      value = await work({ query: (text, values = []) => this.#ask(client, text, values) });
    } catch (error) {
      if (!isLost(error)) await ask('ROLLBACK');
      throw error;
    }
    await ask('COMMIT');
    return value;
  }
}

/** PostgreSQL's text holds every character but U+0000. */
export function storableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}

function storable(value: Value): unknown {
  if (typeof value === 'string') return value.includes('\0') ? storableText(value) : value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(storable);
  return value;
}
