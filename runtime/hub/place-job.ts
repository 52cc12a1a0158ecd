import { type Unmet, unmetInWords, unmetRequirements } from '#machines/policy/matching.ts';
import { choosePool } from '#machines/policy/pool-choice.ts';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import type { JobSubmission } from '#protocol/job.ts';
import type { MachineId } from '#protocol/names.ts';
import type { Group } from '#protocol/requirements.ts';
import type { GroupSignature } from './group-directory.ts';
import type { Hub } from './hub.ts';
import { jsonPointer } from './problem.ts';

/** Where a job waits: its group, and who may run it. */
export interface Placed extends GroupSignature {
  /** Classes that may run it; empty when no machine has ever joined. */
  classIds: string[];
  warnings: string[];
}

/**
 * Group and pool of a submission. Throws `UNKNOWN_SERVICE` or `REQUIREMENT_UNMET` for what no known class
 * of machine can ever run, each requirement by where the client asked for it (`origins`, from the
 * document on).
 */
export async function placeJob(
  hub: Hub,
  options: {
    submission: JobSubmission;
    expectedMs: number;
    prefix: string;
    origins: ReadonlyMap<string, PropertyKey[]>;
  },
): Promise<Placed> {
  const { submission, expectedMs, prefix } = options;
  const { service, requirements, customer } = submission;
  const anyPool = submission.pool ?? '-none-';
  const search = await hub.classes.find({ service, pool: anyPool, requirements, customer });
  const warnings: string[] = [];
  if (search.kind === 'unknownService') {
    const detail = `no machine class offers ${service}; offered: ${search.offered.join(', ')}`;
    refuse('UNKNOWN_SERVICE', [{ pointer: `${prefix}/service`, detail }]);
  }
  if (search.kind === 'unmet')
    refuse(
      'REQUIREMENT_UNMET',
      search.unmet.flatMap((unmet) => unmetFields(unmet, options)),
    );
  if (search.kind === 'noneKnown') {
    warnings.push('no machine has joined yet: whether one can run this job is not known');
  }
  const classIds = search.kind === 'met' ? search.classIds : [];
  const capable = new Set(classIds.flatMap((classId) => hub.classes.get(classId)?.pool ?? []));
  const pool = choosePool({
    requested: submission.pool ?? null,
    expectedMs,
    ranges: hub.config.pools,
    capable,
  });
  if (submission.pool !== undefined && capable.size > 0 && !capable.has(pool)) {
    warnings.push(
      `no machine of pool ${pool} can run this job: others (${[...capable].sort().join(', ')}) take it when they have nothing more urgent`,
    );
  }
  const pin = requirements.machineId;
  const isApart = requirements.isolation === 'strict' || pin !== undefined;
  const scope = hub.classes.scopeOf({ customer, isApart });
  const shared = hub.classes.groupSizes(requirements);
  const signature = hub.groups.signature({ service, pool, requirements, ...scope }, shared);
  if (pin !== undefined) warnings.push(...(await pinWarnings(hub, pin, signature.group)));
  return { ...signature, classIds, warnings };
}

/** A pin may name a machine that comes later, or one that comes back as another: no reason to refuse. */
async function pinWarnings(hub: Hub, pin: MachineId, group: Group): Promise<string[]> {
  const machine = await hub.records.getMachine(pin);
  if (machine === null) return [`the machine ${pin} has never joined: the job waits until it does`];
  const unmet = unmetRequirements(machine.machineClass, group);
  if (unmet.length === 0) return [];
  return [`the machine ${pin} cannot run this job as it last joined: ${unmetInWords(unmet)}`];
}

/** One requirement as the client wrote it; tags may come from several places. */
function unmetFields(
  { requirement, needed, available }: Unmet,
  { prefix, origins }: { prefix: string; origins: ReadonlyMap<string, PropertyKey[]> },
): FieldError[] {
  const ours =
    requirement === 'service' || requirement === 'customer'
      ? [requirement]
      : ['requirements', requirement === 'reservation' ? 'tags' : requirement];
  const there = `the best machine class has ${available}`;
  const told = (asked: string, path: PropertyKey[]): FieldError => ({
    pointer: jsonPointer(path, prefix),
    detail: `${requirement}: needed ${asked}, ${there}`,
  });
  if (requirement !== 'tags' && requirement !== 'withoutTags')
    return [told(needed, origins.get(requirement) ?? ours)];
  const not = requirement === 'tags' ? '' : 'not ';
  const tags = needed.slice(not.length).split(', ');
  const theirs = tags.flatMap((tag) => {
    const path = origins.get(`${requirement} ${tag}`);
    return path === undefined ? [] : [{ tag, path }];
  });
  const own = tags.filter((tag) => theirs.every((each) => each.tag !== tag));
  return [
    ...(own.length === 0 ? [] : [told(`${not}${own.join(', ')}`, ours)]),
    ...theirs.map(({ tag, path }) => told(`${not}${tag}`, path)),
  ];
}

function refuse(code: 'UNKNOWN_SERVICE' | 'REQUIREMENT_UNMET', errors: FieldError[]): never {
  throw new EmpError(code, { detail: errors.map((error) => error.detail).join('; '), errors });
}
