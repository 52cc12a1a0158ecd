/**
 * The cards of a machine. A machine without any has CPU slots: one device of kind `cpu`. Figures are
 * measured, never taken from the provider's word.
 */
export interface GpuDevice {
  /** UUID of the card, or `cpu-0`. Indices move when a card falls off the bus; UUIDs do not. */
  uuid: string;
  kind: 'gpu' | 'cpu';
  name: string;
  /** MiB; for `cpu` the memory that jobs may use. */
  memoryMb: number;
}

export interface GpuReading {
  uuid: string;
  freeMemoryMb: number;
  utilisation: number;
  temperatureC: number | null;
}

export interface Gpus {
  /** All cards present now; rejects when the driver does not answer. */
  list(signal: AbortSignal): Promise<GpuDevice[]>;
  /** Rejects with the reason when the card is gone or in an error state. */
  read(uuid: string, signal: AbortSignal): Promise<GpuReading>;
}
