import {
  type BeatRequest,
  type BrokerEntry,
  type ClaimRequest,
  claimGroupsLimit,
  claimLanesLimit,
} from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import { brokerBodyLimitBytes } from '#protocol/job.ts';
import { JobId, MachineRef } from '#protocol/names.ts';
import { FencingToken } from '#protocol/token.ts';

/** Entries one submit may bring, and items one progress call may. */
const batchLimit = 1_000;
const runningLimit = 256;

/** Refuses the whole call before its first write, naming the field. */
function check(holds: boolean, pointer: string, detail: string): asserts holds {
  if (!holds)
    throw new EmpError('VALIDATION_FAILED', {
      detail: `${pointer}: ${detail}`,
      errors: [{ pointer, detail }],
    });
}

export function checkEntries({ entries }: { entries: BrokerEntry[] }): void {
  check(entries.length <= batchLimit, '/entries', `at most ${batchLimit} entries a call`);
  entries.forEach((entry, index) => {
    const at = `/entries/${index}`;
    checkJob(entry.jobId, `${at}/jobId`);
    checkToken(entry.fenceFloor, `${at}/fenceFloor`);
    check(
      Number.isInteger(entry.costMs) && entry.costMs >= 1,
      `${at}/costMs`,
      'a whole number of ms, 1 or more',
    );
    check(
      Number.isInteger(entry.priority) && entry.priority >= 0 && entry.priority <= 100,
      `${at}/priority`,
      '0 to 100',
    );
    check(
      entry.group !== '' && entry.affinity !== '' && entry.pool !== '',
      at,
      'group, affinity and pool are not empty',
    );
    const bodyBytes = entry.body === null ? 0 : Buffer.byteLength(JSON.stringify(entry.body));
    check(
      bodyBytes <= brokerBodyLimitBytes,
      `${at}/body`,
      `at most ${brokerBodyLimitBytes} bytes; keep it in Records and pass null`,
    );
    if (entry.lease !== null) checkToken(entry.lease.token, `${at}/lease/token`);
  });
}

export function checkClaim(request: ClaimRequest): void {
  checkRef(request);
  const isId = Number.isSafeInteger(request.requestId) && request.requestId >= 1;
  check(isId, '/requestId', 'a whole number, 1 or more');
  checkGroups(request.groups);
  check(
    request.warmLanes.length <= claimLanesLimit,
    '/warmLanes',
    `at most ${claimLanesLimit} lanes a claim`,
  );
  for (const lane of request.warmLanes)
    check(Number.isFinite(lane.bonusMs), '/warmLanes/bonusMs', 'a number of ms');
}

export function checkBeat(request: BeatRequest): void {
  checkRef(request);
  checkGroups(request.groups);
  check(request.running.length <= runningLimit, '/running', `at most ${runningLimit} runs a beat`);
  for (const { jobId, token } of request.running) {
    checkJob(jobId, '/running/jobId');
    checkToken(token, '/running/token');
  }
}

function checkGroups(groups: ClaimRequest['groups']): void {
  check(groups.length <= claimGroupsLimit, '/groups', `at most ${claimGroupsLimit} groups a claim`);
  for (const each of groups) check(Number.isFinite(each.penaltyMs), '/groups/penaltyMs', 'a number of ms');
}

export function checkRef(ref: MachineRef): void {
  const parsed = MachineRef.safeParse({ machineId: ref.machineId, incarnation: ref.incarnation });
  check(parsed.success, '/machineId', 'a machine id and an incarnation of 1 or more');
}

export function checkProgress(items: { jobId: string; token: string; fraction: number }[]): void {
  check(items.length <= batchLimit, '/items', `at most ${batchLimit} items a call`);
  for (const item of items) check(item.fraction >= 0 && item.fraction <= 1, '/items/fraction', '0 to 1');
}

export function checkEnd(request: { jobId: string; token?: string; fenceFloor: string }): void {
  checkJob(request.jobId, '/jobId');
  checkToken(request.fenceFloor, '/fenceFloor');
  if (request.token !== undefined) checkToken(request.token, '/token');
}

export function checkLimit({ limit }: { limit: number }): void {
  check(Number.isInteger(limit) && limit >= 1 && limit <= 10_000, '/limit', '1 to 10000');
}

function checkJob(jobId: string, pointer: string): void {
  check(JobId.safeParse(jobId).success, pointer, 'not a job id');
}

function checkToken(token: string, pointer: string): void {
  check(FencingToken.safeParse(token).success, pointer, 'not a fencing token');
}
