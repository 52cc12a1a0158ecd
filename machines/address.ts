import { type MachineRef, machineKey } from '#protocol/names.ts';

/** Where an actor lives: `machine/incarnation/path`, the path being the ids from below the root. */
export interface ActorAddress extends MachineRef {
  /** Empty for the root. */
  path: string[];
}

export function formatAddress(address: ActorAddress): string {
  return [machineKey(address), ...address.path.map((id) => encodeURIComponent(id))].join('/');
}

/** The address in a text, or null if it has not that form. Ids may hold any character, escaped. */
export function parseAddress(text: string): ActorAddress | null {
  const [machineId, incarnation, ...path] = text.split('/');
  if (!machineId || incarnation === undefined || !/^[1-9]\d{0,15}$/.test(incarnation)) return null;
  if (path.some((id) => !/^(?:[^%]|%[0-9A-Fa-f]{2})+$/.test(id))) return null;
  try {
    return { machineId, incarnation: Number(incarnation), path: path.map((id) => decodeURIComponent(id)) };
  } catch {
    // Escapes that are no UTF-8: written by something else.
    return null;
  }
}
