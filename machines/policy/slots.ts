/** Capacity of one device for one service; one job at a time. */
export interface Slot {
  id: string;
  service: string;
  /** UUID of the card, or of the CPU device. */
  device: string;
}

/** Lays out the slots of each service over the devices in turn, so that one lost card takes its share. */
export function layOutSlots(services: Readonly<Record<string, number>>, devices: readonly string[]): Slot[] {
  if (devices.length === 0) return [];
  let next = 0;
  return Object.entries(services).flatMap(([service, count]) =>
    Array.from({ length: count }, (_, index) => ({
      id: `${service}#${index}`,
      service,
      device: devices[next++ % devices.length] as string,
    })),
  );
}

export interface SlotView {
  slots: readonly Slot[];
  /** Ids of occupied slots. */
  taken: ReadonlySet<string>;
  /** Services whose connector is up, and devices that can be used. */
  upServices: ReadonlySet<string>;
  usableDevices: ReadonlySet<string>;
}

const usable = (view: SlotView, slot: Slot) =>
  !view.taken.has(slot.id) && view.upServices.has(slot.service) && view.usableDevices.has(slot.device);

/** The first slot that could take a job of the service now, null if there is none. */
export function freeSlot(view: SlotView, service: string): Slot | null {
  return view.slots.find((slot) => slot.service === service && usable(view, slot)) ?? null;
}

/** Free slots per service that is up, also where there are none: what claims and beats carry. */
export function freeSlots(view: SlotView): { service: string; slots: number }[] {
  const services = [...new Set(view.slots.map((slot) => slot.service))].filter((service) =>
    view.upServices.has(service),
  );
  return services.map((service) => ({
    service,
    slots: view.slots.filter((slot) => slot.service === service && usable(view, slot)).length,
  }));
}
