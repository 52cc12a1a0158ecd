import {
  type ClaimPolicy,
  type ClaimTargets,
  claimTargets,
  type LaneKnowledge,
  type ResidentCopy,
  type ServableGroup,
} from '#machines/policy/claim-groups.ts';
import { classMeets } from '#machines/policy/matching.ts';
import { type BrokerStats, claimGroupsLimit, type GroupId } from '#protocol/broker.ts';
import type { Env } from '#protocol/env.ts';
import type { MachineId } from '#protocol/names.ts';
import type { Records } from '#protocol/records.ts';
import {
  canonicalGroup,
  Group,
  groupId,
  type MachineClass,
  type Requirements,
} from '#protocol/requirements.ts';

/** Age at which groups interned by other hubs are looked for, ms; asked for by claims and beats only. */
const refreshMs = 5_000;
/** Age at which the classes that are there are looked for again, ms. */
const livingRefreshMs = 10_000;

/** Forms of requirements whose signature is kept at hand. */
const signaturesLimit = 1_000;

/** A group in canonical form, with its id. */
export interface GroupSignature {
  groupId: GroupId;
  /** May need a little more than the job (machines/policy/size-steps.ts). */
  group: Group;
  /** Of the job itself, in canonical form. */
  requirements: Requirements;
}

interface ClassGroups {
  machineClass: MachineClass;
  open: ServableGroup[];
  pinned: Map<MachineId, ServableGroup[]>;
}

export interface Claimant {
  machineId: MachineId;
  classId: string;
  machineClass: MachineClass;
}

/** The interned groups, and which of them each class of machine may serve: decided once per pair. */
export class GroupDirectory {
  readonly #records: Records;
  readonly #env: Env;
  readonly #groups = new Map<GroupId, ServableGroup>();
  /** Groups whose requirements cannot be judged here. */
  readonly #foreign = new Set<GroupId>();
  readonly #classes = new Map<string, ClassGroups>();
  /** By the JSON of what was asked, fields in the order they came in. */
  readonly #signatures = new Map<string, GroupSignature>();
  #refreshedMs = Number.NEGATIVE_INFINITY;
  #turn = 0;
  /** When a job of a pool was last given out here, by the monotonic clock. */
  readonly #givenMs = new Map<string, number>();
  readonly #sinceMs: number;
  /** Classes of machines that are there and take work; null until they were looked for. */
  #living: readonly MachineClass[] | null = null;
  #livingKey = '';
  #lookedMs = Number.NEGATIVE_INFINITY;
  readonly #livingMs: number;

  /** `livingMs`: a machine counts as there so long after it was seen. */
  constructor(options: { records: Records; env: Env; livingMs: number }) {
    this.#records = options.records;
    this.#env = options.env;
    this.#livingMs = options.livingMs;
    this.#sinceMs = options.env.clock.monotonic();
  }

  get(groupId: GroupId): Group | null {
    return this.#groups.get(groupId)?.group ?? null;
  }

  /** The group of this id, looked for in Records where it was interned elsewhere since; null if it is none. */
  async find(groupId: GroupId): Promise<Group | null> {
    if (!this.#groups.has(groupId)) await this.refresh();
    return this.get(groupId);
  }

  /** Ids for a wake that must be passed on, those with waiting work first, at most 32. */
  busiest(): GroupId[] {
    const all = [...this.#groups.values()].sort((a, b) => b.waiting - a.waiting);
    return all.slice(0, claimGroupsLimit).map((each) => each.groupId);
  }

  /**
   * Group of a job that asks for this, and whose group needs `shared`. Most jobs ask for one of a few forms, and
   * a hash for each costs more than to look it up.
   */
  signature(asked: Group, shared: Requirements): GroupSignature {
    const { service, pool, requirements, customer, notCustomers } = asked;
    const key = JSON.stringify([service, pool, requirements, customer, notCustomers, shared]);
    const known = this.#signatures.get(key);
    if (known !== undefined) return known;
    const group = canonicalGroup({ ...asked, requirements: shared });
    const own = canonicalGroup(asked).requirements;
    const made = { groupId: groupId(group), group, requirements: own };
    if (this.#signatures.size >= signaturesLimit) this.#signatures.clear();
    this.#signatures.set(key, made);
    return made;
  }

  /** Makes the group known to every hub before a job names it. Answers whether it was new to this one. */
  async intern(groupId: GroupId, group: Group): Promise<boolean> {
    if (this.#groups.has(groupId)) return false;
    await this.#records.internGroup(groupId, group);
    this.#add(groupId, group);
    return true;
  }

  async refresh(): Promise<void> {
    for (const { groupId, group } of await this.#records.listGroups()) this.#add(groupId, group);
    this.#refreshedMs = this.#env.clock.monotonic();
  }

  async refreshIfOld(): Promise<void> {
    const { clock } = this.#env;
    if (clock.monotonic() - this.#refreshedMs >= refreshMs) await this.refresh();
    if (clock.monotonic() - this.#lookedMs < livingRefreshMs) return;
    const machines = await this.#records.listMachines({ seenAfterMs: clock.now() - this.#livingMs });
    this.#lookedMs = clock.monotonic();
    this.#live(machines.filter((each) => each.state === 'joined' && !each.cordoned && !each.draining));
  }

  /** Which groups have machines of their own pool. */
  #live(machines: readonly { classId: string; machineClass: MachineClass }[]): void {
    const classes = new Map(machines.map(({ classId, machineClass }) => [classId, machineClass]));
    const key = [...classes.keys()].sort().join(' ');
    if (this.#living !== null && key === this.#livingKey) return;
    this.#livingKey = key;
    this.#living = [...classes.values()];
    for (const each of this.#groups.values()) each.isHomeless = this.#isHomeless(each.group);
  }

  #isHomeless(group: Group): boolean {
    if (this.#living === null) return false;
    return !this.#living.some((known) => known.pool === group.pool && classMeets(known, group));
  }

  /** A job of this group has been given out: its pool has had its turn. */
  noteGiven(groupId: GroupId): void {
    const pool = this.#groups.get(groupId)?.group.pool;
    if (pool !== undefined) this.#givenMs.set(pool, this.#env.clock.monotonic());
  }

  noteWaiting(groups: BrokerStats['groups']): void {
    for (const each of this.#groups.values()) each.waiting = 0;
    for (const { group, waiting } of groups) {
      const known = this.#groups.get(group);
      if (known !== undefined) known.waiting = waiting;
    }
  }

  /** Work has just come to this group: it counts as waiting before the counts are read again. */
  noteWork(groupId: GroupId): void {
    const known = this.#groups.get(groupId);
    if (known !== undefined && known.waiting === 0) known.waiting = 1;
  }

  /** Groups that this very machine may serve. */
  servable(claimant: Claimant): ServableGroup[] {
    const known = this.#classGroups(claimant.classId, claimant.machineClass);
    const pinned = known.pinned.get(claimant.machineId);
    return pinned === undefined ? known.open : [...known.open, ...pinned];
  }

  targets(
    claimant: Claimant,
    options: {
      freeServices: ReadonlySet<string>;
      resident: readonly ResidentCopy[];
      lanes: LaneKnowledge | null;
      policy: ClaimPolicy;
      /** False for what is held back. */
      isOpen: (group: Group) => boolean;
    },
  ): ClaimTargets {
    const turn = this.#turn++;
    const { isOpen, ...rest } = options;
    return claimTargets({
      servable: this.servable(claimant).filter(({ group }) => isOpen(group)),
      pool: claimant.machineClass.pool,
      turn,
      ageMs: (pool) => this.#env.clock.monotonic() - (this.#givenMs.get(pool) ?? this.#sinceMs),
      ...rest,
    });
  }

  /** A group with a requirement that this hub does not know, of a newer one, is served by nobody here. */
  #add(groupId: GroupId, group: Group): void {
    if (this.#groups.has(groupId) || this.#foreign.has(groupId)) return;
    if (!Group.safeParse(group).success) {
      this.#foreign.add(groupId);
      this.#env.log.warn('group.foreign', { groupId });
      return;
    }
    const added: ServableGroup = { groupId, group, waiting: 0, isHomeless: this.#isHomeless(group) };
    this.#groups.set(groupId, added);
    for (const known of this.#classes.values()) place(known, added);
  }

  #classGroups(classId: string, machineClass: MachineClass): ClassGroups {
    const cached = this.#classes.get(classId);
    if (cached !== undefined) return cached;
    const made: ClassGroups = { machineClass, open: [], pinned: new Map() };
    for (const each of this.#groups.values()) place(made, each);
    this.#classes.set(classId, made);
    return made;
  }
}

function place(known: ClassGroups, each: ServableGroup): void {
  if (!classMeets(known.machineClass, each.group)) return;
  const pin = each.group.requirements.machineId;
  if (pin === undefined) {
    known.open.push(each);
    return;
  }
  const list = known.pinned.get(pin);
  if (list === undefined) known.pinned.set(pin, [each]);
  else list.push(each);
}
