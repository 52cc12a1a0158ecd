import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { covers, type Limit, LimitDefinition, type LimitedWork } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import type { Hub } from './hub.ts';
import { parseDocument } from './problem.ts';
import { RecordsCopy } from './records-copy.ts';

/** Age at which the limits are read again, ms: how long another hub may still go by the old ones. */
const refreshMs = 2_000;

/** The limits, as this hub knows them. Who counts is decided by what it knows, the room by the store. */
export class LimitDirectory {
  readonly #limits: RecordsCopy<Limit[]>;

  constructor({ records, env }: { records: Records; env: Env }) {
    const read = () => records.listLimits();
    this.#limits = new RecordsCopy<Limit[]>({ read, clock: env.clock, refreshMs, value: [] });
  }

  all(): readonly Limit[] {
    return this.#limits.value;
  }

  /** Those that count this work. */
  of(work: LimitedWork): Limit[] {
    return this.#limits.value.filter((limit) => covers(limit, work));
  }

  refresh = () => this.#limits.refresh();
  refreshIfOld = () => this.#limits.refreshIfOld();
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
