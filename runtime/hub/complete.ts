import type { EndRequest } from '#protocol/broker.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { type JobOutput, type JobResult, resultObjectKey } from '#protocol/job.ts';
import type { JsonValue } from '#protocol/json.ts';
import type { ClaimOffer, ClaimResult, LinkAnswer, LinkBody } from '#protocol/link.ts';
import { tokenAfter } from '#protocol/token.ts';
import { claimJob } from './claim.ts';
import { endInBroker } from './exit.ts';
import { noteRoom } from './held-back.ts';
import { holdsLease } from './holder.ts';
import type { Hub } from './hub.ts';
import { endGrant, type MachineLink } from './links.ts';

/** Largest `data` of a result, bytes of JSON. */
const dataLimitBytes = 65_536;

/**
 * Commits a result: objects checked, row committed, then the Broker told, and the next job claimed, in
 * one call and as a rule in one step. `refused`: another run, a cancel or an operator came first; the
 * result stays invisible.
 */
export async function completeJob(
  hub: Hub,
  machine: MachineLink,
  body: LinkBody<'complete'>,
): Promise<LinkAnswer<'complete'>> {
  const { end, ...answer } = await commit(hub, machine, body);
  const ending = end === null ? null : endInBroker(hub, end);
  const claiming = body.next === null ? null : claimNext(hub, machine, body.next);
  const [next] = await Promise.all([claiming, ending]);
  return { ...answer, next };
}

/** What the machine is answered, and what the Broker is still to be told. */
type Committed = Pick<LinkAnswer<'complete'>, 'kind' | 'detail'> & { end: EndRequest | null };

async function commit(hub: Hub, machine: MachineLink, body: LinkBody<'complete'>): Promise<Committed> {
  const { jobId, token } = body;
  const held = await holdsLease(hub, machine, body);
  if (held.kind === 'foreign')
    return refused(hub, `the lease ${token} of job ${jobId} was not given to this incarnation`);
  checkData(body.data);
  const missing = await missingOutput(hub, body);
  if (missing !== null) return { kind: 'missingOutput', detail: missing, end: null };
  const result: JobResult = { outputs: body.outputs, data: body.data };
  const { machineId, incarnation } = machine;
  const row = await hub.records.completeJob({
    jobId,
    token,
    holder: { machineId, incarnation },
    result,
    nowMs: hub.env.clock.now(),
  });
  endGrant(machine, jobId);
  switch (row.kind) {
    case 'committed':
      hub.counters.completions++;
      hub.poke.recorder();
      if (row.limited) noteRoom(hub);
      return { kind: 'committed', detail: null, end: { jobId, token, fenceFloor: row.fenceFloor } };
    case 'terminal': {
      // By the row's word alone: this token may be anybody's guess, and a tombstone would keep it.
      const end = { jobId, token: row.fenceFloor, fenceFloor: row.fenceFloor };
      if (row.same) return { kind: 'committed', detail: null, end };
      return refused(hub, `the job is ${row.state} already`, end);
    }
    case 'staleLease':
      return refused(hub, `the lease ${token} has ended: tokens from ${row.fenceFloor} on may commit`);
    case 'unknown':
      return refused(hub, `no job ${jobId} is known`, { jobId, token, fenceFloor: tokenAfter(token) });
  }
}

function refused(hub: Hub, detail: string, end: EndRequest | null = null): Committed {
  hub.counters.completionsRefused++;
  return { kind: 'refused', detail, end };
}

function checkData(data: JsonValue): void {
  const bytes = Buffer.byteLength(JSON.stringify(data));
  if (bytes <= dataLimitBytes) return;
  throw new EmpError('BODY_TOO_LARGE', {
    detail: `The data of a result is ${bytes} bytes, the limit is ${dataLimitBytes}: put it in an output file`,
  });
}

/** What is wrong with the first output that is not stored as reported; null if all are. */
async function missingOutput(hub: Hub, body: LinkBody<'complete'>): Promise<string | null> {
  const names = new Set(body.outputs.map((output) => output.name));
  if (names.size < body.outputs.length) return 'two outputs have one name';
  const found = await Promise.all(body.outputs.map((output) => outputFault(hub, body, output)));
  return found.find((fault) => fault !== null) ?? null;
}

async function outputFault(hub: Hub, body: LinkBody<'complete'>, output: JobOutput): Promise<string | null> {
  const key = resultObjectKey({ jobId: body.jobId, token: body.token, name: output.name });
  if (output.object !== key) return `${output.name}: its object key must be ${key}`;
  const stored = await hub.objects.head(key);
  if (stored === null) return `${output.name}: nothing is stored under ${key}`;
  if (stored.bytes !== output.bytes)
    return `${output.name}: ${stored.bytes} bytes are stored, ${output.bytes} reported`;
  if (stored.sha256 !== output.sha256)
    return `${output.name}: the stored bytes have the SHA-256 ${stored.sha256}`;
  return null;
}

/** The completion is committed: a claim that fails must not take it back, so the machine claims anew. */
async function claimNext(hub: Hub, machine: MachineLink, offer: ClaimOffer): Promise<ClaimResult | null> {
  try {
    return await claimJob(hub, machine, offer);
  } catch (error) {
    const failure = toEmpError(error);
    hub.env.log.warn('claim.next.failed', {
      machineId: machine.machineId,
      code: failure.code,
      detail: failure.message,
    });
    return null;
  }
}
