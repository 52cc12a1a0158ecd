import type {
  BeatAnswer,
  BeatsAnswer,
  BrokerEvent,
  BrokerPulse,
  BrokerStats,
  BrokerView,
  CancelAnswer,
  ClaimAnswer,
  ExitAnswer,
  LapsedAnswer,
  SubmitAnswer,
  SubmitBatchAnswer,
  TurnsAnswer,
  Wake,
} from '#protocol/broker.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { MachineRef } from '#protocol/names.ts';

/** Tagged answer of a step after its time: texts, numbers and lists of them, as its header says. */
export class Reply {
  readonly tag: string;
  readonly #values: readonly unknown[];

  constructor(values: readonly unknown[]) {
    this.tag = String(values[0]);
    this.#values = values.slice(1);
  }

  text(at: number): string {
    const value = this.#values[at];
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return String(value);
    return wrong(this.tag, at);
  }

  number(at: number): number {
    return Number(this.text(at));
  }

  /** '' = null. */
  numberOrNull(at: number): number | null {
    const text = this.text(at);
    return text === '' ? null : Number(text);
  }

  flag(at: number): boolean {
    return this.number(at) === 1;
  }

  list(at: number): string[] {
    const value = this.#values[at];
    return Array.isArray(value) ? value.map(String) : wrong(this.tag, at);
  }

  rows(at: number): unknown[][] {
    const value = this.#values[at];
    return Array.isArray(value) && value.every(Array.isArray) ? value : wrong(this.tag, at);
  }

  /** The tag where the caller expects one of these. */
  one<T extends string>(...tags: T[]): T {
    const found = tags.find((tag) => tag === this.tag);
    return found ?? wrong(this.tag, 0);
  }
}

function wrong(tag: string, at: number): never {
  throw new EmpError('INTERNAL', { detail: `a broker step answered ${tag} with an unexpected field ${at}` });
}

const stateNames: Readonly<Record<string, BrokerView['state']>> = { w: 'waiting', d: 'delayed', l: 'leased' };

export function stateName(letter: unknown): BrokerView['state'] {
  return stateNames[String(letter)] ?? wrong('state', 0);
}

/** `machine/incarnation`; '' = null. */
export function refOf(key: string): MachineRef | null {
  const at = key.lastIndexOf('/');
  return at < 0 ? null : { machineId: key.slice(0, at), incarnation: Number(key.slice(at + 1)) };
}

function knownRef(key: string): MachineRef {
  return refOf(key) ?? wrong('incarnation', 0);
}

export function submitAnswer(reply: Reply): SubmitBatchAnswer {
  if (reply.tag === 'closed') return { kind: 'closed' };
  if (reply.tag === 'identityChanged') return { kind: 'identityChanged', identity: reply.text(0) };
  return { kind: reply.one('ok'), answers: reply.rows(0).map((row) => oneSubmitted(new Reply(row))) };
}

function oneSubmitted(row: Reply): SubmitAnswer {
  if (row.tag === 'exists') return { kind: 'exists' };
  if (row.tag === 'tombstoned') return { kind: 'tombstoned', fenceFloor: row.text(0) };
  return { kind: row.one('added'), wake: refOf(row.text(0)) };
}

export function claimAnswer(reply: Reply): ClaimAnswer {
  if (reply.tag !== 'leased') return { kind: reply.one('closed', 'superseded', 'lapsed', 'empty') };
  const body = reply.text(7);
  return {
    kind: 'leased',
    lease: {
      jobId: reply.text(0),
      token: reply.text(1),
      group: reply.text(2),
      affinity: reply.text(3),
      run: reply.number(4),
      attempts: reply.number(5),
      fenceFloor: reply.text(6),
      body: body === '' ? null : (JSON.parse(body) as JsonObject),
      rebuilt: reply.flag(8),
      expiresAtMs: reply.number(9),
    },
    more: reply.flag(10),
    wake: refOf(reply.text(11)),
  };
}

export function turnsAnswer(reply: Reply): TurnsAnswer {
  reply.one('ok');
  return {
    completions: reply.list(0).map((removed) => ({ kind: removed === '1' ? 'removed' : 'unchanged' })),
    claims: reply.rows(1).map((row) => oneClaimed(new Reply(row))),
  };
}

/** What a grant says in short words is one text: no name has a blank in it. */
function oneClaimed(row: Reply): ClaimAnswer {
  if (row.tag !== 'leased') return { kind: row.one('closed', 'superseded', 'lapsed', 'empty') };
  const words = row.text(0).split(' ');
  const [jobId = '', token = '', group = '', affinity = '', run, attempts, fenceFloor = '', rebuilt] = words;
  if (words.length !== 8) return wrong('leased', 0);
  const body = row.text(1);
  return {
    kind: 'leased',
    lease: {
      ...{ jobId, token, group, affinity, run: Number(run), attempts: Number(attempts), fenceFloor },
      body: body === '' ? null : (JSON.parse(body) as JsonObject),
      rebuilt: rebuilt === '1',
      expiresAtMs: row.number(2),
    },
    more: row.flag(3),
    wake: refOf(row.text(4)),
  };
}

export function beatsAnswer(reply: Reply): BeatsAnswer {
  reply.one('ok');
  const pulse: BrokerPulse = {
    identity: reply.text(1),
    open: reply.flag(2),
    entries: reply.number(3),
    lastEventId: reply.number(4),
    earliestExpiryMs: reply.numberOrNull(5),
  };
  return { answers: reply.rows(0).map((row) => oneBeaten(new Reply(row), pulse)), pulse };
}

function oneBeaten(row: Reply, pulse: BrokerPulse): BeatAnswer {
  if (row.tag !== 'ok') return { kind: row.one('superseded', 'lapsed') };
  return {
    kind: 'ok',
    drop: row.list(0),
    cancel: row.list(1),
    unnamed: row.rows(2).map(([jobId, token]) => ({ jobId: String(jobId), token: String(token) })),
    work: row.flag(3),
    closed: !pulse.open,
    earliestExpiryMs: pulse.earliestExpiryMs,
  };
}

/** The answer to a request that came alone. */
export function beatAnswer(reply: Reply): BeatAnswer {
  return beatsAnswer(reply).answers[0] ?? wrong('beat', 0);
}

export function exitAnswer(reply: Reply): ExitAnswer {
  if (reply.tag === 'requeued') return { kind: 'requeued', wake: refOf(reply.text(0)) };
  return { kind: reply.one('removed', 'cancelled', 'unchanged') };
}

export function cancelAnswer(reply: Reply): CancelAnswer {
  if (reply.tag !== 'requested') return { kind: reply.one('removed', 'unknown') };
  return { kind: 'requested', holder: knownRef(reply.text(0)), token: reply.text(1) };
}

export function lapsedAnswer(reply: Reply): LapsedAnswer {
  if (reply.tag === 'closed') return { kind: 'closed' };
  const leases = reply.rows(0).map(([key, jobId, token, rebuilt]) => ({
    ...knownRef(String(key)),
    jobId: String(jobId),
    token: String(token),
    rebuilt: rebuilt === 1,
  }));
  return { kind: reply.one('ok'), leases, earliestExpiryMs: reply.numberOrNull(1) };
}

export function leaveAnswer(reply: Reply): { leases: { jobId: string; token: string }[] } {
  return { leases: reply.rows(0).map(([jobId, token]) => ({ jobId: String(jobId), token: String(token) })) };
}

export function wakeAnswer(reply: Reply): { wake: Wake } {
  return { wake: refOf(reply.text(0)) };
}

export function promoteAnswer(reply: Reply): {
  promoted: string[];
  wakes: MachineRef[];
  nextInMs: number | null;
} {
  return { promoted: reply.list(0), wakes: reply.list(1).map(knownRef), nextInMs: reply.numberOrNull(2) };
}

export function eventsAnswer(reply: Reply): { identity: string; events: BrokerEvent[] } {
  const pairs = reply.list(1);
  const events: BrokerEvent[] = [];
  for (let at = 0; at < pairs.length; at += 2) events.push(eventOf(Number(pairs[at]), pairs[at + 1] ?? ''));
  return { identity: reply.text(0), events };
}

/** `kind job token holder run fraction ms bonus penalty`, `-` = none. */
function eventOf(id: number, text: string): BrokerEvent {
  const words = text.split(' ');
  const [kind = '', jobId = '', token = '', holder = '', run, fraction = '', atMs, bonus = '', penalty] =
    words;
  if (words.length !== 9) return wrong('event', 0);
  const ref = refOf(holder);
  return {
    id,
    kind: kind as BrokerEvent['kind'],
    jobId,
    token,
    machineId: ref?.machineId ?? null,
    incarnation: ref?.incarnation ?? null,
    run: Number(run),
    fraction: fraction === '-' ? null : Number(fraction),
    choice: bonus === '-' ? null : { bonusMs: Number(bonus), penaltyMs: Number(penalty) },
    atMs: Number(atMs),
  };
}

export function listAnswer(
  reply: Reply,
): { jobId: string; state: BrokerView['state']; token: string; fenceFloor: string }[] {
  return reply.rows(0).map(([jobId, state, token, floor]) => ({
    jobId: String(jobId),
    state: stateName(state),
    token: String(token),
    fenceFloor: String(floor),
  }));
}

export function inspectAnswer(reply: Reply, jobId: string): BrokerView | null {
  if (reply.tag === 'none') return null;
  return {
    jobId,
    state: stateName(reply.text(0)),
    token: reply.text(1),
    fenceFloor: reply.text(2),
    score: reply.number(3),
    group: reply.text(4),
    affinity: reply.text(5),
    attempts: reply.number(6),
    runs: reply.number(7),
    holder: refOf(reply.text(8)),
    cancelRequested: reply.flag(9),
    rebuilt: reply.flag(10),
    notBeforeMs: reply.numberOrNull(11),
    ahead: reply.number(12),
    clockMs: reply.number(13),
    aheadInGroup: reply.number(14),
    leaders: reply.rows(15).map(([id, affinity, score]) => ({
      jobId: String(id),
      affinity: String(affinity),
      score: Number(score),
    })),
  };
}

export interface RedisBrokerStats extends BrokerStats {
  /** Times that the server's clock was found moved by more than 5 s: every lease was given one TTL then. */
  clockSteps: number;
}

/** Groups that stats name at most. */
const groupsLimit = 1_000;

/** Groups by id; the lanes of each as the server told them. */
function lanesOf(flat: string[]): BrokerStats['lanes'] {
  const lanes: BrokerStats['lanes'] = [];
  for (let at = 0; at < flat.length; at += 3)
    lanes.push({ group: flat[at] ?? '', affinity: flat[at + 1] ?? '', waiting: Number(flat[at + 2]) });
  return lanes.sort((a, b) => (a.group === b.group ? 0 : a.group < b.group ? -1 : 1));
}

export function statsAnswer(reply: Reply): RedisBrokerStats {
  const [waiting, delayed, entries] = [reply.number(2), reply.number(3), reply.number(4)];
  const pairs = reply.list(9);
  // A group that waits in several generations is named once for each.
  const counts = new Map<string, number>();
  for (let at = 0; at < pairs.length; at += 2)
    counts.set(pairs[at] ?? '', (counts.get(pairs[at] ?? '') ?? 0) + Number(pairs[at + 1]));
  const groups = [...counts].map(([group, waiting]) => ({ group, waiting }));
  groups.sort((a, b) => b.waiting - a.waiting || (a.group < b.group ? -1 : 1));
  return {
    identity: reply.text(0),
    open: reply.flag(1),
    waiting,
    delayed,
    leased: entries - waiting - delayed,
    incarnations: reply.number(5),
    tombstones: reply.number(6),
    groups: groups.slice(0, groupsLimit),
    lanes: lanesOf(reply.list(10)),
    operations: reply.number(7),
    clockSteps: reply.number(8),
  };
}
