import { z } from 'zod';

/**
 * The forms of every name that reaches a key, a path or a URL. They exclude `:`, `/`, `{}`, blanks
 * and control characters, so that no name can be read as another key or leave its folder.
 */
/** One of those forms; `what` begins the sentence that refuses another, e.g. `a job id`. */
export const nameForm = (what: string, limit: number) =>
  z
    .string()
    .regex(
      new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${limit - 1}}$`),
      `${what} has 1 to ${limit} characters of A-Z a-z 0-9 . _ - and begins with a letter or digit`,
    );

export const JobId = nameForm('a job id', 128);
export type JobId = string;
export const MachineId = nameForm('a machine id', 64);
export type MachineId = string;
/** Name of a hub: configured, or made up at its start. */
export const HubId = nameForm('a hub id', 64);
export type HubId = string;
export const ServiceName = nameForm('a service name', 64);
export const PoolName = nameForm('a pool name', 64);
export const CustomerName = nameForm('a customer name', 128);
export const ModelId = nameForm('a model id', 128);
export const TagName = nameForm('a tag', 64);
/** Becomes a part of the ids of the schedule's jobs. */
export const ScheduleName = nameForm('a schedule name', 64);
export const RegionName = nameForm('a region', 64);
/** File name of an input or output: no path, no hidden file. */
export const FileName = nameForm('a file name', 128);

/**
 * One start of a machine's process: a number from a sequence in Records, handed out at enrolment.
 * Of two processes with one machine id the higher incarnation wins.
 */
export const Incarnation = z.int().min(1);
export type Incarnation = number;

/** A machine id with the incarnation that speaks for it. */
export const MachineRef = z.strictObject({ machineId: MachineId, incarnation: Incarnation });
export type MachineRef = z.infer<typeof MachineRef>;

/** Text form `machine/incarnation` of a reference, as used in keys, addresses and logs. */
export function machineKey(ref: MachineRef): string {
  return `${ref.machineId}/${ref.incarnation}`;
}
