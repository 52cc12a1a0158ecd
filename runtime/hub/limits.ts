import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import {
  covers,
  holdsBack,
  type Limit,
  LimitDefinition,
  type LimitedWork,
  refusesBeyond,
  type WaitingLimit,
} from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import type { Hub } from './hub.ts';
import { parseDocument } from './problem.ts';
import { RecordsCopy } from './records-copy.ts';

/** Age at which the limits are read again, ms: how long another hub may still go by the old ones. */
const refreshMs = 2_000;

interface Known {
  holding: Limit[];
  refusing: WaitingLimit[];
}

/** The limits, as this hub knows them. Who counts is decided by what it knows, the room by the store. */
export class LimitDirectory {
  readonly #known: RecordsCopy<Known>;

  constructor({ records, env }: { records: Records; env: Env }) {
    const read = async (): Promise<Known> => {
      const limits = await records.listLimits();
      return { holding: limits.filter(holdsBack), refusing: limits.filter(refusesBeyond) };
    };
    const value = { holding: [], refusing: [] };
    this.#known = new RecordsCopy<Known>({ read, clock: env.clock, refreshMs, value });
  }

  /** Those that may hold jobs back. One that has `waiting` alone is none: it concerns submissions only. */
  holding(): readonly Limit[] {
    return this.#known.value.holding;
  }

  /** Of those, what counts this work. */
  of(work: LimitedWork): Limit[] {
    return this.holding().filter((limit) => covers(limit, work));
  }

  /** Those that say how many may wait. */
  refusing(): readonly WaitingLimit[] {
    return this.#known.value.refusing;
  }

  refresh = () => this.#known.refresh();
  refreshIfOld = () => this.#known.refreshIfOld();
}

/**
 * Keeps a limit under this name, or changes the one that is there. What runs goes on; what waits is held
 * when a machine would get it. Throws VALIDATION_FAILED with pointers, CONFLICT where there are too many.
 */
export async function saveLimit(
  hub: Hub,
  asked: { name: string; document: unknown; actor: string },
): Promise<Limit> {
  const { name, document, actor } = asked;
  const definition = parseDocument(LimitDefinition, document, { what: 'The limit' });
  const saved = await hub.records.putLimit({ name, definition, actor, nowMs: hub.env.clock.now() });
  await changed(hub);
  return saved;
}

/** What it held is let in. Throws NOT_FOUND where there is none of that name. */
export async function removeLimit(hub: Hub, asked: { name: string; actor: string }): Promise<void> {
  const { name } = asked;
  if (!(await hub.records.removeLimit({ ...asked, nowMs: hub.env.clock.now() })))
    throw new EmpError('NOT_FOUND', { detail: `No limit ${name} is kept`, fields: { name } });
  await changed(hub);
}

/** Throws NOT_FOUND. */
export async function showLimit(hub: Hub, name: string): Promise<Limit> {
  const limit = (await hub.records.listLimits()).find((each) => each.name === name);
  if (limit === undefined)
    throw new EmpError('NOT_FOUND', { detail: `No limit ${name} is kept`, fields: { name } });
  return limit;
}

async function changed(hub: Hub): Promise<void> {
  hub.poke.recorder();
  await hub.limits.refresh();
  hub.poke.admitter();
}
