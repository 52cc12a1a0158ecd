import type {
  BeatRequest,
  BrokerEntry,
  BrokerSettings,
  ClaimRequest,
  ExitRequest,
  TurnsRequest,
} from '#protocol/broker.ts';
import { machineKey } from '#protocol/names.ts';
import { priorityBoostMs } from '#protocol/score.ts';

/** Arguments of a step after the common ones, in the order that the header of its .lua gives. */
export type StepArguments = (string | number | Buffer)[];

const orNothing = (value: string | number | null | undefined): string | number => value ?? '';

export function submitArguments(
  options: { identity: string; entries: BrokerEntry[]; ticket?: { identity: string; nonce: string } },
  settings: BrokerSettings,
): StepArguments {
  const { identity, entries, ticket } = options;
  const head = [identity, orNothing(ticket?.identity), orNothing(ticket?.nonce), entries.length];
  return [...head, ...entries.flatMap((entry) => entryArguments(entry, settings))];
}

function entryArguments(entry: BrokerEntry, settings: BrokerSettings): StepArguments {
  const { lease } = entry;
  return [
    entry.jobId,
    entry.group,
    entry.affinity,
    entry.pool,
    entry.customer,
    priorityBoostMs(entry.priority, settings),
    entry.costMs,
    entry.attempts,
    entry.runs,
    entry.fenceFloor,
    orNothing(entry.notBeforeMs),
    entry.body === null ? '' : JSON.stringify(entry.body),
    orNothing(lease?.token),
    orNothing(lease?.machineId),
    orNothing(lease?.incarnation),
  ];
}

export function claimArguments(request: ClaimRequest): StepArguments {
  const { groups, warmLanes } = request;
  // Of a group that is named twice the last penalty counts.
  const placeOf = new Map(groups.map(({ group }, at) => [group, at + 1]));
  const penaltyOf = new Map(groups.map(({ group, penaltyMs }) => [group, penaltyMs]));
  return [
    request.machineId,
    request.incarnation,
    request.requestId,
    groups.length,
    warmLanes.length,
    ...groups.map(({ group }) => group),
    ...warmLanes.map(({ group, affinity }) => `${group}/${affinity}`),
    packed([
      ...groups.map(({ group }) => penaltyOf.get(group) ?? 0),
      ...warmLanes.map(({ group }) => placeOf.get(group) ?? 0),
      ...warmLanes.map(({ bonusMs }) => bonusMs),
    ]),
  ];
}

/**
 * Groups, lanes, penalties and bonuses are named once, whoever of the machines claims them; so are equal lists of
 * groups, which name them by their places. All of it is text: one argument of bytes would have each written by itself.
 */
export function turnsArguments({ completions, claims }: TurnsRequest): StepArguments {
  const [groups, lanes, values] = [new Places(), new Places(), new Places()];
  const lists = new Map<string, GroupList>();
  const claimed: StepArguments = [];
  for (const { machineId, incarnation, requestId, groups: served, warmLanes } of claims) {
    let key = '';
    for (const { group, penaltyMs } of served) key += `${group} ${penaltyMs} `;
    const list = lists.get(key) ?? groupList(served, { place: lists.size + 1, groups, values });
    lists.set(key, list);
    let warm = '';
    for (const { group, affinity, bonusMs } of warmLanes) {
      const place = list.placeOf.get(group) ?? 0;
      warm +=
        letters(lanes.of(`${group}/${affinity}`)) + letters(place) + letters(values.of(String(bonusMs)));
    }
    claimed.push(machineId, incarnation, requestId, list.place, warm);
  }
  const counts = [groups, lanes, values].map(({ names }) => names.length);
  const ended = completions.flatMap(({ jobId, token, fenceFloor }) => [jobId, token, fenceFloor]);
  const named = [...groups.names, ...lanes.names, ...values.names];
  const listTexts = [...lists.values()].map(({ text }) => text);
  return [
    completions.length,
    ...counts,
    lists.size,
    claims.length,
    ...ended,
    ...named,
    ...listTexts,
    ...claimed,
  ];
}

/**
 * A place, below 16 384, as two characters of seven bits each, the higher first. The step reads many in one call, as
 * numbers of two bytes, which below 128 are the places themselves.
 */
function letters(place: number): string {
  return String.fromCharCode(place >> 7, place & 127);
}

/** A list of groups as claims name it. */
interface GroupList {
  place: number;
  text: string;
  /** Of a group in it. */
  placeOf: ReadonlyMap<string, number>;
}

function groupList(
  served: ClaimRequest['groups'],
  { place, groups, values }: { place: number; groups: Places; values: Places },
): GroupList {
  // Of a group that is named twice the last penalty counts.
  const penaltyOf = new Map(served.map(({ group, penaltyMs }) => [group, String(penaltyMs)]));
  const texts = served.map(
    ({ group }) => letters(groups.of(group)) + letters(values.of(penaltyOf.get(group) ?? '0')),
  );
  return { place, text: texts.join(''), placeOf: new Map(served.map(({ group }, at) => [group, at + 1])) };
}

/** Names in the order in which they came, each with its place from 1 on. */
class Places {
  readonly names: string[] = [];
  readonly #places = new Map<string, number>();

  of(name: string): number {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    this.#places.set(name, this.names.push(name));
    return this.names.length;
  }
}

/** Doubles, the higher byte first: one argument of many numbers is read faster than many arguments. */
function packed(numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * numbers.length);
  for (const [at, number] of numbers.entries()) bytes.writeDoubleBE(number, 8 * at);
  return bytes;
}

export function beatArguments(requests: readonly BeatRequest[]): StepArguments {
  return [requests.length, ...requests.flatMap(oneBeat)];
}

function oneBeat(request: BeatRequest): StepArguments {
  const { running, groups } = request;
  return [
    machineKey(request),
    request.highestRequestId,
    orNothing(request.openRequestId),
    running.length,
    groups.length,
    ...running.flatMap(({ jobId, token }) => [jobId, token]),
    ...groups.map(({ group }) => group),
  ];
}

export function exitArguments(request: ExitRequest): StepArguments {
  const { jobId, token, fenceFloor, state, attempts, runs, notBeforeMs } = request;
  const asks = request.cancelRequested ? 1 : 0;
  return [jobId, token, fenceFloor, state, attempts, runs, orNothing(notBeforeMs), asks];
}
