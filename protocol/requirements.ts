import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from './json.ts';
import { MachineId, ModelId, PoolName, RegionName, ServiceName, TagName } from './names.ts';

const tags = z.array(TagName).max(32);
const megabytes = z.int().min(0).max(16_000_000);

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
});
export type MachineClass = z.infer<typeof MachineClass>;

/**
 * One interned signature of hard requirements. The pool is a preference, but part of the signature,
 * because scores are kept per pool.
 */
export const Group = z.strictObject({ service: ServiceName, pool: PoolName, requirements: Requirements });
export type Group = z.infer<typeof Group>;

const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** Canonical form: absent and empty requirements are the same, tags are sorted and unique. */
export function canonicalGroup(group: Group): Group {
  const { tags, withoutTags, ...rest } = group.requirements;
  const unique = (list: string[] | undefined) => (list?.length ? [...new Set(list)].sort() : undefined);
  const all = unique(tags);
  const none = unique(withoutTags);
  const requirements = Object.fromEntries(
    Object.entries({ ...rest, tags: all, withoutTags: none }).filter(
      ([, value]) => value !== undefined && value !== 0,
    ),
  ) as Requirements;
  return { service: group.service, pool: group.pool, requirements };
}

/** Id of a group, `g` and 16 hex digits of the SHA-256 of its canonical form. */
export function groupId(group: Group): string {
  return `g${digest(canonicalJson(canonicalGroup(group)))}`;
}

/** Id of a machine class, `c` and 16 hex digits; the order of services and tags does not matter. */
export function machineClassId(machineClass: MachineClass): string {
  const services = [...machineClass.services].sort((a, b) => (a.service < b.service ? -1 : 1));
  return `c${digest(canonicalJson({ ...machineClass, services, tags: [...new Set(machineClass.tags)].sort() }))}`;
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
