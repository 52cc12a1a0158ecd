import { machineKey } from '#protocol/names.ts';
import { compareTokens } from '#protocol/token.ts';
import type { LaneIndex } from './lane-index.ts';
import type { BrokerData, Entry } from './state.ts';

/**
 * Everything that the structures of a memory Broker must agree on: each entry in exactly one place,
 * nothing without its entry, heads equal to true heads, counts equal to what they count. Answers what
 * is wrong, in words; empty is sound. Slow on purpose: it counts again what the steps keep.
 */
export function auditData(data: BrokerData): string[] {
  const wrong: string[] = [];
  const expect = (holds: boolean, what: string) => {
    if (!holds) wrong.push(what);
  };
  const generations = [data.current, ...data.quarantines.map((each) => each.index)];
  for (const entry of data.entries.values()) {
    expect(data.ids.score(entry.jobId) === 0, `${entry.jobId} is not among the ids`);
    expect((entry.index === null) === (entry.lease !== null), `${entry.jobId} is not in exactly one place`);
    if (entry.index !== null)
      expect(generations.includes(entry.index), `${entry.jobId} is in a generation that is gone`);
    if (entry.lease !== null) {
      const key = machineKey(entry.lease);
      expect(
        data.held.get(key)?.has(entry.jobId) === true,
        `${entry.jobId} is not among the leases of ${key}`,
      );
      expect(data.alive.has(key), `${key} holds ${entry.jobId} and has no end`);
      // A cancel may come between an exit's commit and its step here: it brings the floor that the exit has raised.
      const isBelow = compareTokens(entry.token, entry.fenceFloor) < 0;
      expect(!isBelow || entry.cancelRequested, `${entry.jobId} is leased below its floor`);
    } else expect(!entry.cancelRequested, `${entry.jobId} is flagged and not leased`);
    const tombstone = data.tombstones.get(entry.jobId);
    if (tombstone !== undefined)
      expect(
        compareTokens(entry.fenceFloor, tombstone.fenceFloor) > 0,
        `${entry.jobId} lives under its own tombstone`,
      );
  }
  expect(data.ids.size === data.entries.size, 'there are ids without an entry');
  auditLeases(data, expect);
  for (const index of generations)
    auditIndex(
      index,
      [...data.entries.values()].filter((each) => each.index === index),
      expect,
    );
  expect(data.tombstones.size === data.tombstoneEnds.size, 'tombstones and their ends differ');
  return wrong;
}

type Expect = (holds: boolean, what: string) => void;

function auditLeases(data: BrokerData, expect: Expect): void {
  let held = 0;
  for (const [key, jobs] of data.held) {
    held += jobs.size;
    expect(jobs.size > 0, `${key} holds an empty set`);
    for (const { member } of jobs.slice(null, jobs.size)) {
      const lease = data.entries.get(member)?.lease;
      expect(lease != null && machineKey(lease) === key, `${key} is said to hold ${member}`);
    }
  }
  const leased = [...data.entries.values()].filter((entry) => entry.lease !== null).length;
  expect(held === leased, `${held} leases by machine, ${leased} by entry`);
  expect(data.refs.size === data.alive.size, 'references and ends of incarnations differ');
  for (const { member } of data.alive.slice(null, data.alive.size)) {
    const ref = data.refs.get(member);
    expect(ref !== undefined && machineKey(ref) === member, `${member} has no reference`);
    expect(
      ref !== undefined && (data.newest.get(ref.machineId) ?? 0) >= ref.incarnation,
      `${member} is newer than the newest`,
    );
  }
}

/** Sorted by hand what the index keeps sorted. */
function auditIndex(index: LaneIndex, entries: Entry[], expect: Expect): void {
  const isBefore = (a: Entry, b: Entry) => a.score - b.score || (a.jobId < b.jobId ? -1 : 1);
  const waiting = entries.filter((entry) => !index.delayed.has(entry.jobId));
  expect(index.waiting === waiting.length, `${index.waiting} are counted, ${waiting.length} wait`);
  expect(index.delayed.size === entries.length - waiting.length, 'delayed ids without an entry');
  const byGroup = Map.groupBy(waiting, (entry) => entry.group);
  expect(index.waitingOf.size === byGroup.size, 'groups are counted that have nothing waiting');
  for (const [group, members] of byGroup) {
    expect(index.waitingOf.get(group) === members.length, `${group} is counted wrongly`);
    const heads = [...Map.groupBy(members, (entry) => entry.affinity)].map(([affinity, lane]) => {
      const sorted = lane.toSorted(isBefore);
      sorted.forEach((entry, place) => {
        expect(
          index.ahead(entry) === place,
          `${entry.jobId} is at place ${index.ahead(entry)}, not ${place}`,
        );
      });
      const head = index.laneHead({ group, affinity });
      expect(head?.jobId === sorted[0]?.jobId, `${group}/${affinity} has ${head?.jobId} for its head`);
      return { affinity, score: sorted[0]?.score ?? Number.NaN };
    });
    const best = heads.toSorted((a, b) => a.score - b.score || (a.affinity < b.affinity ? -1 : 1))[0];
    const known = index.groupHead(group);
    expect(
      known?.affinity === best?.affinity && known?.score === best?.score,
      `${group} has ${known?.affinity} for its head`,
    );
  }
  const first = index.firstOfAll();
  const least = Math.min(...waiting.map((entry) => entry.score));
  expect(
    waiting.length === 0
      ? first === null
      : waiting.some((each) => each.jobId === first && each.score === least),
    `${first} is not the first of all`,
  );
}
