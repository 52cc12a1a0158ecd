import type { Clock, Env, Log, LogLevel, NewId, Rng } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { seededRng } from './seeded-rng.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface LogEntry {
  atMs: number;
  level: LogLevel;
  event: string;
  fields: JsonObject;
}

/** The last `limit` log lines of a simulation, oldest first: printed when a run fails. */
export class LogRing {
  readonly #limit: number;
  readonly #entries: LogEntry[] = [];
  #at = 0;

  constructor(limit = 2_000) {
    this.#limit = limit;
  }

  push(entry: LogEntry): void {
    this.#entries[this.#at % this.#limit] = entry;
    this.#at++;
  }

  entries(): LogEntry[] {
    const split = this.#at > this.#limit ? this.#at % this.#limit : 0;
    return [...this.#entries.slice(split), ...this.#entries.slice(0, split)];
  }

  /** One line an entry: seconds since `startMs`, level, event and fields. */
  text(startMs: number): string {
    return this.entries()
      .map(
        (entry) =>
          `${((entry.atMs - startMs) / 1000).toFixed(3).padStart(10)} ${entry.level.padEnd(5)} ${entry.event} ${JSON.stringify(entry.fields)}`,
      )
      .join('\n');
  }
}

function ringLog(ring: LogRing, clock: Clock, base: JsonObject): Log {
  const at =
    (level: LogLevel) =>
    (event: string, fields: JsonObject = {}) =>
      ring.push({ atMs: clock.now(), level, event, fields: { ...base, ...fields } });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => ringLog(ring, clock, { ...base, ...fields }),
  };
}

/** Ids of the system's form, `prefix_` and 28 hex digits, ordered by time within one source. */
function seededNewId(clock: Clock, rng: Rng): NewId {
  let lastMs = 0;
  let count = 0;
  return (prefix) => {
    const nowMs = Math.max(lastMs, Math.floor(clock.now()));
    count = nowMs === lastMs ? count + 1 : 0;
    lastMs = nowMs;
    const tail = rng
      .int(0, 2 ** 48 - 1)
      .toString(16)
      .padStart(12, '0');
    return `${prefix}_${nowMs.toString(16).padStart(12, '0')}${count.toString(16).padStart(4, '0')}${tail}`;
  };
}

export interface SimEnv extends Env {
  clock: VirtualClock;
  ring: LogRing;
  /** An Env of one process in the same world: own randomness and ids, a log that names it. */
  process(name: string): Env;
}

/** A whole virtual world's Env. Equal seeds and equal calls give equal times, draws and ids. */
export function simEnv(options: { seed: number | string; clock?: VirtualClock; ring?: LogRing }): SimEnv {
  const clock = options.clock ?? new VirtualClock();
  const ring = options.ring ?? new LogRing();
  const rng = seededRng(options.seed);
  const log = ringLog(ring, clock, {});
  const ids = rng.fork('ids');
  return {
    clock,
    ring,
    rng,
    log,
    newId: seededNewId(clock, ids.fork('world')),
    process(name) {
      const own = rng.fork(`process ${name}`);
      return {
        clock,
        rng: own,
        newId: seededNewId(clock, ids.fork(name)),
        log: log.child({ process: name }),
      };
    },
  };
}
