import type { LaneKnowledge } from '#machines/policy/claim-groups.ts';
import type { BrokerStats, GroupId } from '#protocol/broker.ts';

/** Lanes that are remembered beyond their work: the one not seen for longest is forgotten first. */
const seenLimit = 10_000;

const none: ReadonlySet<string> = new Set();

/**
 * Which lanes have work, as the Broker's stats told within the last second and this hub's submits since.
 * A claim names the few that it could begin soon: naming every resident model in every group would fill
 * its places with lanes that are empty.
 */
export class Lanes implements Omit<LaneKnowledge, 'bytesOf'> {
  readonly #waiting = new Map<GroupId, Set<string>>();
  readonly #seen = new Map<GroupId, Set<string>>();
  /** Lanes in the order in which they last had work. */
  readonly #order = new Map<string, { group: GroupId; affinity: string }>();

  /** Those that stand in the stats have work, others none. */
  noteStats(lanes: BrokerStats['lanes']): void {
    this.#waiting.clear();
    for (const lane of lanes) this.noteWork(lane);
  }

  /** Work has just come to this lane. */
  noteWork({ group, affinity }: { group: GroupId; affinity: string }): void {
    const lane = { group, affinity };
    add(this.#waiting, lane);
    add(this.#seen, lane);
    const key = `${group}/${affinity}`;
    this.#order.delete(key);
    this.#order.set(key, lane);
    const [oldest] = this.#order;
    if (this.#order.size <= seenLimit || oldest === undefined) return;
    this.#order.delete(oldest[0]);
    this.#seen.get(oldest[1].group)?.delete(oldest[1].affinity);
  }

  waiting(group: GroupId): readonly string[] {
    return [...(this.#waiting.get(group) ?? none)];
  }

  seen(group: GroupId): ReadonlySet<string> {
    return this.#seen.get(group) ?? none;
  }
}

function add(
  lanes: Map<GroupId, Set<string>>,
  { group, affinity }: { group: GroupId; affinity: string },
): void {
  const known = lanes.get(group);
  if (known === undefined) lanes.set(group, new Set([affinity]));
  else known.add(affinity);
}
