import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Pause, Records } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import type { Hub } from './hub.ts';
import { RecordsCopy } from './records-copy.ts';

/** Age at which the pauses are read again, ms: how long another hub may still hand out what was held back. */
const refreshMs = 2_000;

/**
 * Pools, services and customers that operators hold back. What runs goes on. A pause of a pool or a service
 * hides its groups from claims and beats, so that nothing of the Broker changes and jobs wait where they
 * are. Jobs of a paused customer are held (admission.ts), because a group is many customers'.
 */
export class PauseDirectory {
  readonly #pauses: RecordsCopy<Pause[]>;

  constructor({ records, env }: { records: Records; env: Env }) {
    const read = () => records.listPauses();
    this.#pauses = new RecordsCopy<Pause[]>({ read, clock: env.clock, refreshMs, value: [] });
  }

  /** The pauses that hold this group back, as this hub knows them. */
  of({ pool, service }: Pick<Group, 'pool' | 'service'>): Pause[] {
    return this.#pauses.value.filter(
      ({ kind, name }) => (kind === 'pool' && name === pool) || (kind === 'service' && name === service),
    );
  }

  /** The pause of this customer. */
  ofCustomer(customer: string): Pause | null {
    return this.#pauses.value.find(({ kind, name }) => kind === 'customer' && name === customer) ?? null;
  }

  /** Whether any customer is paused. */
  get hasCustomers(): boolean {
    return this.#pauses.value.some(({ kind }) => kind === 'customer');
  }

  /** False while the group is held back. */
  readonly isOpen = (group: Group): boolean => this.#pauses.value.length === 0 || this.of(group).length === 0;

  refresh = () => this.#pauses.refresh();
  refreshIfOld = () => this.#pauses.refreshIfOld();
}

/** Gives nobody work of this pool, service or customer from now on; other hubs follow within three seconds. */
export async function pauseWork(hub: Hub, asked: Omit<Pause, 'sinceMs'>): Promise<Pause> {
  const pause = await hub.records.putPause({ ...asked, sinceMs: hub.env.clock.now() });
  hub.poke.recorder();
  await hub.pauses.refresh();
  return pause;
}

/** Machines are given this work again, from their next beats on at the latest. Throws NOT_FOUND where it was not held back. */
export async function resumeWork(hub: Hub, by: Pick<Pause, 'kind' | 'name' | 'actor'>): Promise<void> {
  const ended = await hub.records.endPause({ ...by, nowMs: hub.env.clock.now() });
  await hub.pauses.refresh();
  if (!ended)
    throw new EmpError('NOT_FOUND', {
      detail: `The ${by.kind} ${by.name} is not held back`,
      fields: { ...by },
    });
  hub.poke.recorder();
  if (by.kind === 'customer') hub.poke.admitter();
}
