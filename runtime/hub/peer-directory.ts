import type { HubId, Incarnation, MachineId, MachineRef } from '#protocol/names.ts';

/** Machines that one other hub may name: as many as a hub may hold. Beyond: not kept, found by beats only. */
const machinesLimit = 100_000;

/**
 * Which machine is linked to which other hub, as those hubs say. A hint: whoever acts on it may find
 * the machine gone. Of two incarnations the newer one counts, of two hubs the one that spoke last.
 */
export class PeerDirectory {
  readonly #machines = new Map<MachineId, { incarnation: Incarnation; hubId: HubId }>();
  readonly #byHub = new Map<HubId, Set<MachineId>>();

  linked(hubId: HubId, machines: readonly MachineRef[]): void {
    const own = this.#byHub.get(hubId) ?? new Set();
    this.#byHub.set(hubId, own);
    for (const { machineId, incarnation } of machines) {
      const known = this.#machines.get(machineId);
      if (known !== undefined && known.incarnation > incarnation) continue;
      if (known === undefined && own.size >= machinesLimit) continue;
      if (known !== undefined) this.#byHub.get(known.hubId)?.delete(machineId);
      this.#machines.set(machineId, { incarnation, hubId });
      own.add(machineId);
    }
  }

  /** A hub that says so of a machine that another one holds by now changes nothing. */
  unlinked(hubId: HubId, machines: readonly MachineRef[]): void {
    for (const { machineId, incarnation } of machines) {
      const known = this.#machines.get(machineId);
      if (known?.hubId !== hubId || known.incarnation !== incarnation) continue;
      this.#machines.delete(machineId);
      this.#byHub.get(hubId)?.delete(machineId);
    }
  }

  /** Nothing is known of that hub's machines any more. */
  forget(hubId: HubId): void {
    for (const machineId of this.#byHub.get(hubId) ?? []) this.#machines.delete(machineId);
    this.#byHub.delete(hubId);
  }

  /** The hub that holds exactly this incarnation. */
  holder(ref: MachineRef): HubId | null {
    const known = this.#machines.get(ref.machineId);
    return known?.incarnation === ref.incarnation ? known.hubId : null;
  }

  countOf(hubId: HubId): number {
    return this.#byHub.get(hubId)?.size ?? 0;
  }
}
