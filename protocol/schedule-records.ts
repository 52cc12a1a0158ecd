import type { Fenced, SingletonLease } from './records.ts';
import type { Schedule, ScheduleDefinition, ScheduleOutcome } from './schedule.ts';

/** The part of Records that keeps schedules. */
export interface ScheduleRecords {
  /** Saves a schedule; one of this name keeps what it did so far. Throws CONFLICT beyond `schedulesLimit`. */
  putSchedule(options: {
    name: string;
    definition: ScheduleDefinition;
    nextAtMs: number | null;
    actor: string;
    nowMs: number;
  }): Promise<Schedule>;
  /** False where there is none of that name. */
  removeSchedule(options: { name: string; actor: string; nowMs: number }): Promise<boolean>;
  /** By name. */
  listSchedules(): Promise<Schedule[]>;
  /** Those whose next time has come after `after`, the oldest time first, then by name. */
  dueSchedules(options: {
    nowMs: number;
    limit: number;
    after?: { nextAtMs: number; name: string } | null;
  }): Promise<Schedule[]>;
  /** Notes what became of a time and names the next; false where somebody changed or removed it since. */
  advanceSchedule(options: {
    name: string;
    /** Its next time when it was read. */
    fromMs: number;
    nextAtMs: number | null;
    last: ScheduleOutcome;
    lease: SingletonLease;
    nowMs: number;
  }): Promise<Fenced<boolean>>;
}
