import { toEmpError } from '#protocol/errors.ts';
import type { Hub } from './hub.ts';

/** What a pause or a limit may name that a hub can know. Customers are anybody's free text. */
export interface NamedWork {
  pool?: string | undefined;
  service?: string | undefined;
  model?: string | undefined;
}

/** Names that one warning lists. */
const listedNames = 12;

/**
 * One sentence for each name that nothing known here bears, with those that are: it may come later, or be
 * misspelt. A pool or a service is known by the machines of the last month, by the settings of this hub and
 * by the jobs that ever named it; a model where it is registered. Nothing where Records do not tell: what is
 * warned of has been committed, and its answer does not depend on a warning.
 */
export async function unknownNames(hub: Hub, named: NamedWork): Promise<string[]> {
  try {
    return await warningsFor(hub, named);
  } catch (error) {
    const { code, message } = toEmpError(error, 'RECORDS_UNAVAILABLE');
    hub.env.log.warn('names.unknown', { code, detail: message });
    return [];
  }
}

async function warningsFor(hub: Hub, named: NamedWork): Promise<string[]> {
  const { pool, service, model } = named;
  const warnings: string[] = [];
  if (pool !== undefined) {
    const ranges = hub.config.pools.map((range) => range.pool);
    const known = [...(await hub.classes.list()).map((each) => each.pool), ...ranges];
    if (!known.includes(pool) && !(await isAskedFor(hub, { pool })))
      warnings.push(`no machine is of the pool ${pool}, and no job has named it; ${inWords(known)}`);
  }
  if (service !== undefined) {
    const offered = (await hub.classes.list()).flatMap(({ services }) =>
      services.map((each) => each.service),
    );
    const known = [...offered, ...hub.services.keys()];
    if (!known.includes(service) && !(await isAskedFor(hub, { service })))
      warnings.push(`no machine offers the service ${service}, and no job has named it; ${inWords(known)}`);
  }
  if (model !== undefined && (await hub.models.get(model)) === null) {
    const known = (await hub.models.list()).map(({ id }) => id);
    warnings.push(`no model ${model} is registered; ${inWords(known)}`);
  }
  return warnings;
}

/** Whether any job has belonged to this pool or service: every kind of work is kept. */
async function isAskedFor(hub: Hub, asked: Pick<NamedWork, 'pool' | 'service'>): Promise<boolean> {
  const groups = await hub.records.listGroups();
  return groups.some(({ group }) => group.pool === asked.pool || group.service === asked.service);
}

function inWords(known: readonly string[]): string {
  const names = [...new Set(known)].sort();
  const rest = names.length - listedNames;
  const listed = names.slice(0, listedNames).join(', ') || 'none';
  return `known: ${listed}${rest > 0 ? ` and ${rest} more` : ''}`;
}
