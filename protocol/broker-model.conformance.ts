import { expect } from 'vitest';
import type { BrokerEntry, BrokerView, ClaimRequest } from './broker.ts';
import { brokerSettings, entryOf, type Rig, ttlMs } from './broker-fixture.conformance.ts';
import { type MachineRef, machineKey } from './names.ts';
import { claimRank, poolStandMs, priorityBoostMs } from './score.ts';
import { compareTokens, type FencingToken } from './token.ts';

/** One job as Records keep it: the truth that the Broker may lose. */
export interface Row {
  entry: BrokerEntry;
  end: 'succeeded' | 'failed' | 'cancelled' | 'dead' | null;
  cancelRequested: boolean;
  brokered: boolean;
  /** Recorded holder. */
  lease: BrokerEntry['lease'];
}

interface Idle {
  ref: MachineRef;
  groups: string[];
  lanes: { group: string; affinity: string }[];
  sinceMs: number;
}

/** What a server would lose: kept by the model to tell what is right after a rollback. */
interface Volatile {
  idle: Map<string, Idle>;
  aliveUntil: Map<string, number>;
  newest: Map<string, number>;
  virtualMs: Map<string, number>;
  /** Tokens of the entries that are here. */
  tokens: Map<string, FencingToken>;
  /** Ids that wait out a loss, by generation; the last generation takes what is re-driven. */
  quarantine: Map<string, number>;
  generations: number[];
}

/**
 * An independent account of what a Broker must answer, kept in plain maps and sorted anew for each
 * question: who is idle and who is woken, what is claimable and who wins, which tokens were given.
 */
export class BrokerModel {
  readonly rig: Rig;
  readonly rows = new Map<string, Row>();
  /** Highest token that any machine ever got for a job. */
  readonly granted = new Map<string, FencingToken>();
  nowMs = 0;
  open = false;
  volatile: Volatile = emptyVolatile();
  settledAtMs = Number.POSITIVE_INFINITY;
  #generation = 0;

  constructor(rig: Rig) {
    this.rig = rig;
  }

  copyVolatile(): Volatile {
    const { idle, aliveUntil, newest, virtualMs, tokens, quarantine, generations } = this.volatile;
    return {
      idle: new Map([...idle].map(([key, each]) => [key, { ...each }])),
      aliveUntil: new Map(aliveUntil),
      newest: new Map(newest),
      virtualMs: new Map(virtualMs),
      tokens: new Map(tokens),
      quarantine: new Map(quarantine),
      generations: [...generations],
    };
  }

  /** What is here now waits in a generation of its own, or in the last one where nothing new is here. */
  async close(volatile: Volatile): Promise<void> {
    this.volatile = volatile;
    this.open = false;
    this.settledAtMs = Number.POSITIVE_INFINITY;
    const { quarantine, generations } = volatile;
    const waiting = (await this.entries()).filter((view) => view.state !== 'leased');
    const fresh = waiting.filter((view) => !quarantine.has(view.jobId));
    if (fresh.length > 0 || generations.length === 0) generations.push(++this.#generation);
    for (const view of fresh) quarantine.set(view.jobId, this.#generation);
  }

  opened(): void {
    this.open = true;
    this.settledAtMs = this.nowMs + ttlMs;
    for (const key of this.volatile.aliveUntil.keys()) this.volatile.aliveUntil.set(key, this.settledAtMs);
  }

  /** Notes where an entry rests that was placed by submit or exit. */
  rests(jobId: string, isFromLoss: boolean): void {
    const { quarantine, generations } = this.volatile;
    const mustWait = !this.open || (isFromLoss && this.settledAtMs > this.nowMs);
    const last = generations.at(-1);
    if (mustWait && last !== undefined) quarantine.set(jobId, last);
    else quarantine.delete(jobId);
  }

  async entries(): Promise<BrokerView[]> {
    const list = await this.rig.broker.list({ after: null, limit: 1_000 });
    const views = await Promise.all(list.map(({ jobId }) => this.rig.broker.inspect(jobId)));
    return views.filter((view) => view !== null);
  }

  async claimable(): Promise<BrokerView[]> {
    if (!this.open) return [];
    return (await this.entries()).filter(
      (view) => view.state === 'waiting' && !this.volatile.quarantine.has(view.jobId),
    );
  }

  // --- idle machines ---------------------------------------------------------------------------

  canServe(ref: MachineRef): boolean {
    const { newest, aliveUntil } = this.volatile;
    return (
      newest.get(ref.machineId) === ref.incarnation && (aliveUntil.get(machineKey(ref)) ?? 0) > this.nowMs
    );
  }

  keepAlive(ref: MachineRef): void {
    const { newest, aliveUntil } = this.volatile;
    aliveUntil.set(machineKey(ref), this.nowMs + ttlMs);
    newest.set(ref.machineId, Math.max(newest.get(ref.machineId) ?? 0, ref.incarnation));
  }

  enterIdle(ref: MachineRef, groups: string[], lanes: Idle['lanes'] | null): void {
    const { idle } = this.volatile;
    const key = machineKey(ref);
    const known = idle.get(key);
    const since = { sinceMs: known?.sinceMs ?? this.nowMs, lanes: lanes ?? known?.lanes ?? [] };
    if (groups.length === 0) idle.delete(key);
    else idle.set(key, { ref: { ...ref }, groups, ...since });
  }

  leaveIdle(ref: MachineRef): void {
    this.volatile.idle.delete(machineKey(ref));
  }

  /** The machine that must be woken for this lane: warm first, then longest idle; taken off the list. */
  takeIdle(lane: { group: string; affinity: string }): MachineRef | null {
    const order = (each: Idle) =>
      each.lanes.some((l) => l.group === lane.group && l.affinity === lane.affinity) ? 0 : 1;
    for (;;) {
      const fit = [...this.volatile.idle.values()].filter((each) => each.groups.includes(lane.group));
      const [first] = fit.sort(
        (a, b) =>
          order(a) - order(b) || a.sinceMs - b.sinceMs || (machineKey(a.ref) < machineKey(b.ref) ? -1 : 1),
      );
      if (first === undefined) return null;
      this.leaveIdle(first.ref);
      if (this.canServe(first.ref)) return first.ref;
    }
  }

  /** Wake of a step that leaves work: the first of these groups with work and an idle fit machine. */
  takeIdleForRest(
    groups: readonly string[],
    claimable: readonly BrokerView[],
  ): { more: boolean; wake: MachineRef | null } {
    let more = false;
    for (const group of groups) {
      const head = claimable.filter((view) => view.group === group).sort(byLane)[0];
      if (head === undefined) continue;
      more = true;
      const wake = this.takeIdle(head);
      if (wake !== null) return { more, wake };
    }
    return { more, wake: null };
  }

  // --- the claim -------------------------------------------------------------------------------

  /** Who must win: the smallest rank of the groups' heads and of the warm lanes', the first of equal ones. */
  winner(
    claimable: readonly BrokerView[],
    request: Pick<ClaimRequest, 'groups' | 'warmLanes'>,
  ): string | null {
    const inOrder = claimable.toSorted(
      (a, b) => a.score - b.score || compareText(a.affinity, b.affinity) || compareText(a.jobId, b.jobId),
    );
    const poolOf = (view: BrokerView) => this.row(view.jobId).entry.pool;
    const headOf = (group: string, affinity?: string) =>
      inOrder.find((view) => view.group === group && (affinity === undefined || view.affinity === affinity));
    const groupHeads = request.groups.flatMap(({ group, penaltyMs }) => {
      const view = headOf(group);
      return view === undefined ? [] : [{ view, penaltyMs, bonusMs: 0 }];
    });
    const laneHeads = request.warmLanes.flatMap(({ group, affinity, bonusMs }) => {
      const view = headOf(group, affinity);
      const named = request.groups.find((each) => each.group === group);
      return view === undefined || named === undefined ? [] : [{ view, penaltyMs: named.penaltyMs, bonusMs }];
    });
    const rankOf = ({ view, penaltyMs, bonusMs }: (typeof groupHeads)[number]) => {
      const pool = poolOf(view);
      const clockMs = this.volatile.virtualMs.get(pool) ?? 0;
      const scores = groupHeads.filter((head) => poolOf(head.view) === pool).map((head) => head.view.score);
      const firstScoreMs = scores.length === 0 ? clockMs : Math.min(...scores);
      const standMs = poolStandMs({ clockMs, firstScoreMs });
      return claimRank({ headScoreMs: view.score, standMs, penaltyMs, bonusMs });
    };
    const ranked = [...groupHeads, ...laneHeads].map((head) => ({ view: head.view, rank: rankOf(head) }));
    const least = Math.min(...ranked.map(({ rank }) => rank));
    return ranked.find(({ rank }) => rank === least)?.view.jobId ?? null;
  }

  /** Notes a new token: it rises above all that was ever given for this job. */
  grant(jobId: string, token: FencingToken): void {
    const before = this.granted.get(jobId) ?? '0';
    expect(compareTokens(token, before), `token of ${jobId} must rise above ${before}`).toBeGreaterThan(0);
    expect(
      compareTokens(token, this.row(jobId).entry.fenceFloor),
      'not below the floor',
    ).toBeGreaterThanOrEqual(0);
    this.granted.set(jobId, token);
  }

  served(view: BrokerView): void {
    const { pool, priority } = this.row(view.jobId).entry;
    const startMs = view.score + priorityBoostMs(priority, brokerSettings);
    this.volatile.virtualMs.set(pool, Math.max(this.volatile.virtualMs.get(pool) ?? 0, startMs));
  }

  row(jobId: string): Row {
    const row = this.rows.get(jobId);
    if (row === undefined) throw new Error(`the model has no row of ${jobId}`);
    return row;
  }

  addRow(jobId: string, over: Partial<BrokerEntry>): Row {
    const row: Row = {
      entry: entryOf(jobId, over),
      end: null,
      cancelRequested: false,
      brokered: false,
      lease: null,
    };
    this.rows.set(jobId, row);
    return row;
  }

  /** What holds after every step, whatever it was. */
  async check(audit: () => string[]): Promise<void> {
    expect(audit()).toEqual([]);
    const { broker } = this.rig;
    const [stats, list, views] = [
      await broker.stats(),
      await broker.list({ after: null, limit: 1_000 }),
      await this.entries(),
    ];
    expect(stats.open).toBe(this.open);
    const count = (state: string) => list.filter((each) => each.state === state).length;
    expect([stats.waiting, stats.delayed, stats.leased]).toEqual([
      count('waiting'),
      count('delayed'),
      count('leased'),
    ]);
    const before = this.volatile.tokens;
    this.volatile.tokens = new Map();
    for (const [index, view] of views.entries()) {
      const { jobId, state, token, fenceFloor } = view;
      expect(list[index]).toEqual({ jobId, state, token, fenceFloor });
      expect(view.holder !== null).toBe(state === 'leased');
      expect(compareTokens(token, before.get(jobId) ?? '0'), 'a token never falls').toBeGreaterThanOrEqual(0);
      this.volatile.tokens.set(jobId, token);
      if (state === 'leased') this.volatile.quarantine.delete(jobId);
    }
    for (const jobId of this.volatile.quarantine.keys())
      if (!this.volatile.tokens.has(jobId)) this.volatile.quarantine.delete(jobId);
    if (!this.open) return;
    const here = new Set(views.map((view) => view.jobId));
    for (const [jobId, row] of this.rows)
      if (row.end === null && row.brokered) expect(here.has(jobId), `${jobId} is nowhere`).toBe(true);
  }
}

export function emptyVolatile(): Volatile {
  return {
    idle: new Map(),
    aliveUntil: new Map(),
    newest: new Map(),
    virtualMs: new Map(),
    tokens: new Map(),
    quarantine: new Map(),
    generations: [],
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Order of a group's work for a claim without warm lanes, and of a generation that is drained. */
export function byLane(a: BrokerView, b: BrokerView): number {
  return (
    a.score - b.score ||
    compareText(a.group, b.group) ||
    compareText(a.affinity, b.affinity) ||
    compareText(a.jobId, b.jobId)
  );
}
