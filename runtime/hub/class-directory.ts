import {
  type CustomerScope,
  customerScope,
  type NamedCustomers,
  namedCustomers,
} from '#machines/policy/customer-scope.ts';
import { type ClassSearch, findClasses, type KnownClass } from '#machines/policy/matching.ts';
import { groupSizes, type KnownSizes, knownSizes } from '#machines/policy/size-steps.ts';
import type { Env } from '#protocol/env.ts';
import type { Records } from '#protocol/records.ts';
import type { Group, MachineClass, Requirements } from '#protocol/requirements.ts';

/** How long a class counts after its last machine was seen, ms: it may be rented again tomorrow. */
const rememberedMs = 30 * 86_400_000;
/** Age at which the classes are read again, and the least time between two reads after a refusal. */
const refreshMs = 10_000;
const refusalRefreshMs = 1_000;

/** The machine classes that submits are judged by; Records keep them. */
export class ClassDirectory {
  readonly #records: Records;
  readonly #env: Env;
  #classes: KnownClass[] = [];
  #named: NamedCustomers | null = null;
  #sizes: KnownSizes = knownSizes([]);
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(options: { records: Records; env: Env }) {
    this.#records = options.records;
    this.#env = options.env;
  }

  /** A machine of this class has just joined here. */
  note(classId: string, machineClass: MachineClass): void {
    if (this.#classes.every((known) => known.classId !== classId))
      this.#keep([...this.#classes, { classId, machineClass }]);
  }

  get(classId: string): MachineClass | null {
    return this.#classes.find((known) => known.classId === classId)?.machineClass ?? null;
  }

  /** All that are known; read again where that is longer ago than before a refusal. */
  async list(): Promise<readonly MachineClass[]> {
    if (this.#ageMs() >= refusalRefreshMs) await this.#read();
    return this.#classes.map(({ machineClass }) => machineClass);
  }

  /** Classes that may run the group. Before a refusal the classes are read again: one may have joined elsewhere. */
  async find(group: Group): Promise<ClassSearch> {
    if (this.#ageMs() >= refreshMs) await this.#read();
    const found = findClasses(this.#classes, group);
    if (found.kind === 'met' || this.#ageMs() < refusalRefreshMs) return found;
    await this.#read();
    return findClasses(this.#classes, group);
  }

  /** Whose jobs share a group with one of this customer's, by the classes that the last search knew. */
  scopeOf(job: { customer: string; isApart: boolean }): CustomerScope {
    return customerScope(this.#named, job);
  }

  /** The requirements of the group that a job with these belongs to, by the classes that the last search knew. */
  groupSizes(requirements: Requirements): Requirements {
    return groupSizes(requirements, this.#sizes);
  }

  #ageMs(): number {
    return this.#env.clock.monotonic() - this.#readMs;
  }

  async #read(): Promise<void> {
    this.#keep(await this.#records.listClasses({ seenAfterMs: this.#env.clock.now() - rememberedMs }));
    this.#readMs = this.#env.clock.monotonic();
  }

  #keep(classes: KnownClass[]): void {
    this.#classes = classes;
    const each = classes.map((known) => known.machineClass);
    this.#named = namedCustomers(each);
    this.#sizes = knownSizes(each);
  }
}
