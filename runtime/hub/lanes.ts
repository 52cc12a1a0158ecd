import type { LaneKnowledge } from '#machines/policy/claim-groups.ts';
import type { BrokerStats, GroupId } from '#protocol/broker.ts';

/** Lanes that are remembered beyond their work: the one not seen for longest is forgotten first. */
const seenLimit = 10_000;

const none: ReadonlySet<string> = new Set();
const noWork: ReadonlyMap<string, number> = new Map();

interface Lane {
  group: GroupId;
  affinity: string;
}

/**
 * Which lanes have work, as the Broker's stats told within the last second and this hub's submits since.
 * A claim names the few that it could begin soon: naming every resident model in every group would fill
 * its places with lanes that are empty.
 */
export class Lanes implements Pick<LaneKnowledge, 'waiting' | 'seen'> {
  /** By group the affinity keys, and of each how many jobs wait. */
  readonly #waiting = new Map<GroupId, Map<string, number>>();
  readonly #seen = new Map<GroupId, Set<string>>();
  /** Lanes in the order in which they last had work, with what the last job that was submitted here should take, ms. */
  readonly #order = new Map<string, Lane & { expectedMs: number | null }>();
  readonly #expectedMsDefault: number;

  constructor(options: { expectedMsDefault: number }) {
    this.#expectedMsDefault = options.expectedMsDefault;
  }

  /** Those that stand in the stats have work, others none. */
  noteStats(lanes: BrokerStats['lanes']): void {
    this.#waiting.clear();
    for (const lane of lanes) {
      this.#note(lane, null);
      this.#waitingIn(lane.group).set(lane.affinity, lane.waiting);
    }
  }

  /** Work has just come to this lane. */
  noteWork(job: Lane & { expectedMs: number }): void {
    this.#note(job, job.expectedMs);
    const waiting = this.#waitingIn(job.group);
    waiting.set(job.affinity, (waiting.get(job.affinity) ?? 0) + 1);
  }

  waiting(group: GroupId): ReadonlyMap<string, number> {
    return this.#waiting.get(group) ?? noWork;
  }

  seen(group: GroupId): ReadonlySet<string> {
    return this.#seen.get(group) ?? none;
  }

  /** Every lane with work. */
  *all(): Generator<Lane & { waiting: number; expectedMs: number }> {
    for (const [group, lanes] of this.#waiting)
      for (const affinity of lanes.keys()) yield { group, affinity, ...this.work({ group, affinity }) };
  }

  /** How many jobs wait in the lane, and what one of them should take, ms. */
  work({ group, affinity }: Lane): { waiting: number; expectedMs: number } {
    const expectedMs = this.#order.get(`${group}/${affinity}`)?.expectedMs ?? this.#expectedMsDefault;
    return { waiting: this.#waiting.get(group)?.get(affinity) ?? 0, expectedMs };
  }

  #waitingIn(group: GroupId): Map<string, number> {
    const known = this.#waiting.get(group) ?? new Map<string, number>();
    this.#waiting.set(group, known);
    return known;
  }

  #note({ group, affinity }: Lane, expectedMs: number | null): void {
    const key = `${group}/${affinity}`;
    const before = this.#order.get(key)?.expectedMs ?? null;
    this.#order.delete(key);
    this.#order.set(key, { group, affinity, expectedMs: expectedMs ?? before });
    const seen = this.#seen.get(group) ?? new Set<string>();
    this.#seen.set(group, seen.add(affinity));
    const [oldest] = this.#order;
    if (this.#order.size <= seenLimit || oldest === undefined) return;
    this.#order.delete(oldest[0]);
    const left = this.#seen.get(oldest[1].group);
    left?.delete(oldest[1].affinity);
    if (left?.size === 0) this.#seen.delete(oldest[1].group);
  }
}
