import { Cron } from 'croner';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { summary } from './problem.ts';

/** The times of a cron pattern by the clock of a place. All times are ms since 1970. */
export interface CronTimes {
  /** The first after this time; null if there is none. */
  next(afterMs: number): number | null;
  /** The last at or before this time; null if there is none. */
  latest(untilMs: number): number | null;
}

/**
 * A pattern of five fields, or a nickname such as `@daily`. When clocks go forward, a time that does not
 * exist is moved to the hour after it; when they go back, a time that exists twice counts once. Throws
 * VALIDATION_FAILED with `/cron` or `/timezone` for a pattern that cannot be read, has no time to come
 * after `nowMs`, or names no place.
 */
export function cronTimes(asked: { cron: string; timezone: string; nowMs: number }): CronTimes {
  const { cron, timezone, nowMs } = asked;
  checkPlace(timezone);
  const pattern = read(cron, timezone);
  const times: CronTimes = {
    next: (afterMs) => pattern.nextRun(new Date(afterMs))?.getTime() ?? null,
    latest: (untilMs) => pattern.previousRuns(1, new Date(untilMs + 1))[0]?.getTime() ?? null,
  };
  if (times.next(nowMs) === null) throw refused('/cron', `the pattern ${cron} names no time that is to come`);
  return times;
}

function checkPlace(timezone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    const detail = `${timezone} is no name of the IANA time zone database, such as UTC or Europe/Berlin`;
    throw refused('/timezone', detail);
  }
}

function read(cron: string, timezone: string): Cron {
  try {
    return new Cron(cron, { paused: true, timezone, mode: '5-part' });
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error);
    throw refused('/cron', `the pattern ${cron} cannot be read: ${reason}`);
  }
}

function refused(pointer: string, detail: string): EmpError {
  const errors: FieldError[] = [{ pointer, detail }];
  return new EmpError('VALIDATION_FAILED', { detail: summary('The schedule', errors), errors });
}
