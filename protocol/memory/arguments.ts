import type { Broker } from '#protocol/broker.ts';
import {
  beatsLimit,
  beatsRunsLimit,
  claimGroupsLimit,
  claimLanesLimit,
  turnsLimit,
} from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import { brokerBodyLimitBytes, JobState } from '#protocol/job.ts';
import { fitsAsJson } from '#protocol/json.ts';
import { CustomerName, Incarnation, JobId, MachineId, ModelId, PoolName } from '#protocol/names.ts';
import { FencingToken } from '#protocol/token.ts';

/**
 * What a broker refuses before it reads or writes anything, naming the field by JSON pointer. Names
 * become parts of keys, numbers become scores: what is let in here is trusted everywhere below.
 */

/** Entries one submit may bring, items one progress call may, and ids one page of `list` may. */
const batchLimit = 1_000;
const runningLimit = 256;
/** Rows that the other paged steps may ask for. */
const pageLimit = 10_000;
/** Longest expected run, ms: a week. Keeps finish tags exact far beyond any queue. */
const costLimitMs = 7 * 86_400_000;
/** Times, penalties and bonuses lie within this, ms. */
const timeLimitMs = 8_640_000_000_000_000;
const textLimit = 256;
/** Names of groups: part of a lane's key, so neither blanks nor `/`. */
const groupForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

type Argument<K extends keyof Broker> = Parameters<Broker[K]>[0];

function refuse(pointer: string, detail: string): never {
  throw new EmpError('VALIDATION_FAILED', {
    detail: `${pointer}: ${detail}`,
    errors: [{ pointer, detail }],
  });
}

function whole(value: number, pointer: string, least: number, most: number = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isSafeInteger(value) || value < least || value > most)
    refuse(pointer, `a whole number, ${least} to ${most}`);
}

function time(value: number, pointer: string): void {
  if (!Number.isFinite(value) || Math.abs(value) > timeLimitMs) refuse(pointer, 'a finite number of ms');
}

function text(value: string, pointer: string): void {
  if (typeof value !== 'string' || value === '' || value.length > textLimit)
    refuse(pointer, `text of 1 to ${textLimit} characters`);
}

function named(
  schema: { safeParse(value: unknown): { success: boolean } },
  value: string,
  pointer: string,
): void {
  if (!schema.safeParse(value).success) refuse(pointer, 'not a name of the expected form');
}

function list(value: readonly unknown[], pointer: string, most: number): void {
  if (!Array.isArray(value) || value.length > most) refuse(pointer, `a list of at most ${most}`);
}

/** A double must hold it exactly, and the one after it. */
function token(value: string, pointer: string): void {
  if (!FencingToken.safeParse(value).success || Number(value) >= Number.MAX_SAFE_INTEGER)
    refuse(pointer, 'not a fencing token');
}

function group(value: string, pointer: string): void {
  if (typeof value !== 'string' || !groupForm.test(value)) refuse(pointer, 'not a group id');
}

function affinity(value: string, pointer: string): void {
  if (value !== '-') named(ModelId, value, pointer);
}

function groups(value: Argument<'claim'>['groups'], at = ''): void {
  list(value, `${at}/groups`, claimGroupsLimit);
  for (const [index, each] of value.entries()) {
    group(each.group, `${at}/groups/${index}/group`);
    time(each.penaltyMs, `${at}/groups/${index}/penaltyMs`);
  }
}

export function ref({ machineId, incarnation }: { machineId: string; incarnation: number }, at = ''): void {
  named(MachineId, machineId, `${at}/machineId`);
  if (!Incarnation.safeParse(incarnation).success) refuse(`${at}/incarnation`, 'a whole number of 1 or more');
}

export function jobId(value: string): void {
  named(JobId, value, '/jobId');
}

export function submit({ identity, entries, ticket: held }: Argument<'submit'>): void {
  text(identity, '/identity');
  if (held !== undefined) ticket(held, '/ticket');
  list(entries, '/entries', batchLimit);
  for (const [index, each] of entries.entries()) entry(each, `/entries/${index}`);
}

function entry(each: Argument<'submit'>['entries'][number], at: string): void {
  named(JobId, each.jobId, `${at}/jobId`);
  group(each.group, `${at}/group`);
  affinity(each.affinity, `${at}/affinity`);
  named(PoolName, each.pool, `${at}/pool`);
  named(CustomerName, each.customer, `${at}/customer`);
  whole(each.priority, `${at}/priority`, 0, 100);
  whole(each.costMs, `${at}/costMs`, 1, costLimitMs);
  whole(each.attempts, `${at}/attempts`, 0);
  whole(each.runs, `${at}/runs`, 0);
  token(each.fenceFloor, `${at}/fenceFloor`);
  if (each.notBeforeMs !== null) time(each.notBeforeMs, `${at}/notBeforeMs`);
  if (each.body !== null && !fitsAsJson(each.body, brokerBodyLimitBytes))
    refuse(`${at}/body`, `at most ${brokerBodyLimitBytes} bytes; keep it in Records and pass null`);
  if (each.lease === null) return;
  token(each.lease.token, `${at}/lease/token`);
  ref(each.lease, `${at}/lease`);
}

export function claim(request: Argument<'claim'>, at = ''): void {
  ref(request, at);
  whole(request.requestId, `${at}/requestId`, 1);
  groups(request.groups, at);
  list(request.warmLanes, `${at}/warmLanes`, claimLanesLimit);
  for (const [index, lane] of request.warmLanes.entries()) {
    group(lane.group, `${at}/warmLanes/${index}/group`);
    affinity(lane.affinity, `${at}/warmLanes/${index}/affinity`);
    time(lane.bonusMs, `${at}/warmLanes/${index}/bonusMs`);
  }
  text(request.classId, `${at}/classId`);
}

export function turns({ completions, claims }: Argument<'turns'>): void {
  list(completions, '/completions', turnsLimit);
  list(claims, '/claims', turnsLimit);
  if (completions.length + claims.length > turnsLimit)
    refuse('', `at most ${turnsLimit} completions and claims together`);
  for (const [index, request] of completions.entries()) end(request, `/completions/${index}`);
  for (const [index, request] of claims.entries()) claim(request, `/claims/${index}`);
}

export function beat(request: Argument<'beat'>, at = ''): void {
  ref(request, at);
  list(request.running, `${at}/running`, runningLimit);
  for (const [index, run] of request.running.entries()) {
    named(JobId, run.jobId, `${at}/running/${index}/jobId`);
    token(run.token, `${at}/running/${index}/token`);
  }
  whole(request.highestRequestId, `${at}/highestRequestId`, 0);
  if (request.openRequestId !== null) whole(request.openRequestId, `${at}/openRequestId`, 1);
  groups(request.groups, at);
  text(request.classId, `${at}/classId`);
}

export function beats(requests: Argument<'beats'>): void {
  list(requests, '', beatsLimit);
  for (const [index, request] of requests.entries()) beat(request, `/${index}`);
  const runs = requests.reduce((sum, { running }) => sum + running.length, 0);
  if (runs > beatsRunsLimit) refuse('', `beats that name at most ${beatsRunsLimit} runs together`);
}

export function progress(items: Argument<'progress'>): void {
  list(items, '', batchLimit);
  for (const [index, item] of items.entries()) {
    named(JobId, item.jobId, `/${index}/jobId`);
    token(item.token, `/${index}/token`);
    if (!(item.fraction >= 0 && item.fraction <= 1)) refuse(`/${index}/fraction`, '0 to 1');
  }
}

export function end(request: Argument<'complete'>, at = ''): void {
  named(JobId, request.jobId, `${at}/jobId`);
  token(request.token, `${at}/token`);
  token(request.fenceFloor, `${at}/fenceFloor`);
}

export function exit(request: Argument<'exit'>): void {
  end(request);
  if (!JobState.safeParse(request.state).success) refuse('/state', 'not a state of a job');
  whole(request.attempts, '/attempts', 0);
  whole(request.runs, '/runs', 0);
  if (request.notBeforeMs !== null) time(request.notBeforeMs, '/notBeforeMs');
  if (typeof request.cancelRequested !== 'boolean') refuse('/cancelRequested', 'true or false');
}

export function cancel(request: Argument<'cancel'>): void {
  jobId(request.jobId);
  token(request.fenceFloor, '/fenceFloor');
}

export function limit(options: { limit: number }): void {
  whole(options.limit, '/limit', 1, pageLimit);
}

export function shorten(options: Argument<'shorten'>): void {
  ref(options);
  if (!(options.restMs >= 0)) refuse('/restMs', '0 ms or more');
  time(options.restMs, '/restMs');
}

export function passWake(options: Argument<'passWake'>): void {
  ref(options);
  list(options.groups, '/groups', claimGroupsLimit);
  for (const [index, each] of options.groups.entries()) group(each, `/groups/${index}`);
}

export function events(options: Argument<'events'>): void {
  whole(options.after, '/after', 0);
  limit(options);
}

export function trimEvents(options: Argument<'trimEvents'>): void {
  text(options.identity, '/identity');
  whole(options.upTo, '/upTo', 0);
}

export function reconcileStart(options: Argument<'reconcileStart'>): void {
  text(options.nonce, '/nonce');
}

export function ticket(held: Argument<'reconcileFinish'>, at = ''): void {
  text(held.identity, `${at}/identity`);
  text(held.nonce, `${at}/nonce`);
}

export function page(options: Argument<'list'>): void {
  if (options.after !== null) named(JobId, options.after, '/after');
  whole(options.limit, '/limit', 1, batchLimit);
}
