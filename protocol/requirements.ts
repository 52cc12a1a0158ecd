import { createHash } from 'node:crypto';
import { z } from 'zod';
import { GpuModel, GpuName, gpuModel } from './gpu-model.ts';
import { canonicalJson } from './json.ts';
import { CustomerName, MachineId, ModelId, PoolName, RegionName, ServiceName, TagName } from './names.ts';
import { canonicalRange, VersionRange } from './version-range.ts';

/** Tags of one machine, and of one list of a job. */
export const tagsLimit = 32;
const tags = z.array(TagName).max(tagsLimit);
const megabytes = z.int().min(0).max(16_000_000);

/** What a machine runs, by content: the digest of its image or of whatever else made its environment. */
export const EnvironmentDigest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'a digest of an environment is sha256: and 64 hex digits in lower case');

/** Models of cards that one job may name, and kinds of cards in one machine. */
const gpusLimit = 16;
/** Names in one rule of a machine about customers. */
const ruleNamesLimit = 64;
/** Customers that one group may leave out. */
export const notCustomersLimit = 256;

/** What a machine must have or the job never runs there. A claim never violates one of these. */
export const Requirements = z.strictObject({
  /** Free video memory of one card at rest, MiB. */
  vramMb: megabytes.optional(),
  ramMb: megabytes.optional(),
  /** Disk budget for models, MiB. */
  diskMb: megabytes.optional(),
  cpuCores: z.int().min(1).max(1024).optional(),
  /** The machine has all of these. */
  tags: tags.optional(),
  /** The machine has none of these. */
  withoutTags: tags.optional(),
  region: RegionName.optional(),
  /** Pins the job to one machine. */
  machineId: MachineId.optional(),
  /** Every card of the machine is one of these models, written as anybody prints them. */
  gpu: z.array(GpuName).min(1, 'name at least one model, or leave the field out').max(gpusLimit).optional(),
  /** Version of the connector that runs the job's service, as in version-range.ts. */
  connectorVersion: VersionRange.optional(),
  environment: EnvironmentDigest.optional(),
  /** `strict`: only on machines that are dedicated to the job's customer. */
  isolation: z.literal('strict', 'isolation is strict, or left out').optional(),
});
export type Requirements = z.infer<typeof Requirements>;

/** One offered service of a machine with the version of its connector contract. */
export const OfferedService = z.strictObject({
  service: ServiceName,
  version: z.string().min(1).max(32),
  /** How many jobs of this service run at once. */
  slots: z.int().min(1).max(64),
});
export type OfferedService = z.infer<typeof OfferedService>;

const customerNames = z.array(CustomerName).min(1, 'name at least one customer').max(ruleNamesLimit);

/**
 * Whose jobs a machine runs. `strict`: it is dedicated to one customer. `allow`: these only. `deny`: all
 * but these. A machine without a rule runs everybody's.
 */
export const CustomerRule = z.union([
  z.strictObject({ strict: CustomerName }),
  z.strictObject({ allow: customerNames }),
  z.strictObject({ deny: customerNames }),
]);
export type CustomerRule = z.infer<typeof CustomerRule>;

/** What a machine can do: equal capabilities are one class, matched once and cached. */
export const MachineClass = z.strictObject({
  pool: PoolName,
  services: z.array(OfferedService).min(1).max(64),
  vramMb: megabytes,
  ramMb: megabytes,
  diskMb: megabytes,
  cpuCores: z.int().min(1).max(1024),
  tags,
  region: RegionName.nullable(),
  /** Models of its cards, each once; absent where it has none or nobody knows. */
  gpus: z.array(GpuModel).max(gpusLimit).optional(),
  environment: EnvironmentDigest.optional(),
  customers: CustomerRule.optional(),
  /**
   * It runs only jobs whose `tags` name at least one of these; absent where it runs all. Machines add them to
   * `tags`: a name that is not there could be asked for by nobody.
   */
  reservedFor: tags.min(1, 'name at least one tag, or leave the field out').optional(),
});
export type MachineClass = z.infer<typeof MachineClass>;

/**
 * One interned signature of hard requirements. The pool is a preference, but part of the signature,
 * because scores are kept per pool. `customer` and `notCustomers` say whose jobs may be in it
 * (docs/decisions/0005): exactly this customer's, or anybody's but these. At most one of them is there.
 */
export const Group = z.strictObject({
  service: ServiceName,
  pool: PoolName,
  requirements: Requirements,
  customer: CustomerName.optional(),
  notCustomers: z.array(CustomerName).max(notCustomersLimit).optional(),
});
export type Group = z.infer<typeof Group>;

const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);

const unique = <T extends string>(list: readonly T[] | undefined) =>
  list?.length ? [...new Set(list)].sort() : undefined;

/** Canonical form: absent and empty requirements are the same, lists are sorted and unique, names and ranges have one form. */
export function canonicalGroup(group: Group): Group {
  const { tags, withoutTags, gpu, connectorVersion, ...rest } = group.requirements;
  const given = {
    ...rest,
    tags: unique(tags),
    withoutTags: unique(withoutTags),
    gpu: unique(gpu?.map(gpuModel)),
    connectorVersion: connectorVersion === undefined ? undefined : canonicalRange(connectorVersion),
  };
  const requirements = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined && value !== 0),
  ) as Requirements;
  const { service, pool, customer } = group;
  if (customer !== undefined) return { service, pool, requirements, customer };
  const notCustomers = unique(group.notCustomers);
  return { service, pool, requirements, ...(notCustomers === undefined ? {} : { notCustomers }) };
}

/** Id of a group, `g` and 16 hex digits of the SHA-256 of its canonical form. */
export function groupId(group: Group): string {
  return `g${digest(canonicalJson(canonicalGroup(group)))}`;
}

function canonicalRule(rule: CustomerRule | undefined): CustomerRule | undefined {
  if (rule === undefined || 'strict' in rule) return rule;
  return 'allow' in rule ? { allow: unique(rule.allow) ?? [] } : { deny: unique(rule.deny) ?? [] };
}

/** Id of a machine class, `c` and 16 hex digits; the order of services, cards and names in lists does not matter. */
export function machineClassId(machineClass: MachineClass): string {
  const services = [...machineClass.services].sort((a, b) => (a.service < b.service ? -1 : 1));
  const { tags, gpus, customers, reservedFor } = machineClass;
  const lists = {
    tags: unique(tags) ?? [],
    gpus: unique(gpus),
    customers: canonicalRule(customers),
    reservedFor: unique(reservedFor),
  };
  return `c${digest(canonicalJson({ ...machineClass, services, ...lists }))}`;
}

export const GroupId = z.string().regex(/^g[0-9a-f]{16}$/);

/**
 * One waiting line: a group and an affinity key. The key is the base model's id, or `-` when the job
 * loads none; LoRAs stay out of it, they would make a lane of every job.
 */
export const Lane = z.strictObject({ group: GroupId, affinity: z.union([ModelId, z.literal('-')]) });
export type Lane = z.infer<typeof Lane>;

export function laneKey(lane: Lane): string {
  return `${lane.group}/${lane.affinity}`;
}
