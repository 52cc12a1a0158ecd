import {
  isTerminal,
  JOB_TRANSITIONS,
  type JobError,
  type JobOperation,
  type JobState,
  type RunOutcome,
  runsLimit,
} from './job.ts';
import { type MachineRef, machineKey } from './names.ts';
import type { ExitCause } from './records.ts';
import { compareTokens, type FencingToken, tokenAfter } from './token.ts';

/**
 * What a commit makes of a row whose run ends: pure, so that every store decides alike
 * (docs/protocol.md §1). The store only writes what these functions answer.
 */

/** The part of a job's row that decides. `runsAtRequeue` = runs before an operator's last requeue. */
export interface GuardRow {
  state: JobState;
  fenceFloor: FencingToken;
  /** Last recorded holder's; null before the first recorded claim. */
  token: FencingToken | null;
  attempts: number;
  maxAttempts: number;
  runs: number;
  runsAtRequeue: number;
  cancelRequested: boolean;
  /** Limits count it: whatever would wait again is held. */
  limited: boolean;
}

export type ExitDecision =
  /** Terminal, or the token is below the floor: nothing changes but the run's own row. */
  | { kind: 'late' }
  | {
      kind: 'exit';
      state: JobState;
      fenceFloor: FencingToken;
      attempts: number;
      notBeforeMs: number | null;
      counted: boolean;
      /** What was used up, where the job is dead now. */
      usedUp: 'attempts' | 'runs' | null;
    };

/** Whether a completion or exit with this token may still change the row. */
export function tokenStands(row: GuardRow, token: FencingToken, operation: JobOperation): boolean {
  return JOB_TRANSITIONS[operation].from.includes(row.state) && compareTokens(token, row.fenceFloor) >= 0;
}

export function exitCounts(cause: ExitCause): boolean {
  return cause.kind === 'expire' || (cause.kind === 'fail' && cause.error.retryable);
}

/**
 * `runs` includes the run that ends. A requested cancel wins over every other end but completion; the cause
 * `cancel` comes only where one was requested.
 */
export function decideExit(options: {
  row: GuardRow;
  token: FencingToken;
  cause: ExitCause;
  runs: number;
  nowMs: number;
}): ExitDecision {
  const { row, token, cause, nowMs } = options;
  if (isTerminal(row.state) || !tokenStands(row, token, cause.kind)) return { kind: 'late' };
  const counted = exitCounts(cause);
  const attempts = row.attempts + (counted ? 1 : 0);
  const exit = (
    state: JobState,
    usedUp: 'attempts' | 'runs' | null = null,
    notBeforeMs: number | null = null,
  ): ExitDecision => {
    return { kind: 'exit', state, fenceFloor: tokenAfter(token), attempts, notBeforeMs, counted, usedUp };
  };
  if (row.cancelRequested) return exit('cancelled');
  if (cause.kind === 'fail' && !cause.error.retryable) return exit('failed');
  if (counted && attempts >= row.maxAttempts) return exit('dead', 'attempts');
  if (cause.kind !== 'withhold' && options.runs - row.runsAtRequeue >= runsLimit) return exit('dead', 'runs');
  // A newer claim was recorded already (the Broker had lost this one): that machine holds the job.
  if (row.state === 'leased' && row.token !== null && compareTokens(row.token, token) > 0)
    return exit('leased');
  if (cause.kind === 'withhold') return exit('held');
  if (cause.kind === 'fail' && cause.notBeforeMs !== null && cause.notBeforeMs > nowMs)
    return exit(row.limited ? 'held' : 'scheduled', null, cause.notBeforeMs);
  return exit(row.limited ? 'held' : 'waiting');
}

export function exitOutcome(cause: ExitCause): RunOutcome {
  const outcomes = {
    fail: 'failed',
    release: 'released',
    withhold: 'released',
    expire: 'expired',
    cancel: 'cancelled',
  } as const;
  return outcomes[cause.kind];
}

/** What the run ended with, in words, for the timeline. */
export function exitReason(cause: ExitCause): string {
  return cause.kind === 'fail' ? `${cause.error.code}: ${cause.error.message}` : cause.reason;
}

/** Error of the run's row; a machine that fell silent left none. */
export function exitError(cause: ExitCause): JobError | null {
  return cause.kind === 'fail' ? cause.error : null;
}

/**
 * Why a job is dead: what was used up, who ran it, how the last run ended. A job whose every counted
 * run took its machine along is suspected of having done it.
 */
export function deadReason(options: {
  usedUp: 'attempts' | 'runs';
  runs: { ref: MachineRef; outcome: RunOutcome; counted: boolean }[];
  maxAttempts: number;
  last: string;
}): string {
  const machines = [...new Set(options.runs.map((run) => machineKey(run.ref)))];
  const counted = options.runs.filter((run) => run.counted);
  const poison =
    options.usedUp === 'attempts' && counted.length > 0 && counted.every((run) => run.outcome === 'expired');
  const used =
    options.usedUp === 'attempts'
      ? `all ${options.maxAttempts} attempts are used up`
      : `${runsLimit} runs are used up`;
  const suspicion = poison ? '; poison: every machine fell silent while it ran the job' : '';
  return `${used}; ran on ${machines.slice(0, 20).join(', ')}${suspicion}; last: ${options.last}`.slice(
    0,
    2_000,
  );
}
