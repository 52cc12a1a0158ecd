import { SimDisk } from '#simulations/sim-disk.ts';

/** A machine's disk that tells when a model is complete on it and when it goes. */
export class DayDisk extends SimDisk {
  readonly #prefix: string;
  readonly #told: { onDisk: (modelId: string) => void; evicted: (modelId: string) => void };
  readonly #resident = new Set<string>();

  constructor(options: {
    capacityBytes: number;
    /** Absolute folder whose subfolders are models. */
    modelsFolder: string;
    onDisk: (modelId: string) => void;
    evicted: (modelId: string) => void;
  }) {
    super(options);
    this.#prefix = `${options.modelsFolder}/`;
    this.#told = options;
  }

  override async rename(from: string, to: string): Promise<void> {
    await super.rename(from, to);
    const modelId = this.#modelOf(to);
    if (modelId === null) return;
    this.#resident.add(modelId);
    this.#told.onDisk(modelId);
  }

  override async remove(path: string): Promise<void> {
    await super.remove(path);
    const modelId = this.#modelOf(path);
    if (modelId !== null && this.#resident.delete(modelId)) this.#told.evicted(modelId);
  }

  /** Folders with a leading dot hold what is on its way. */
  #modelOf(path: string): string | null {
    if (!path.startsWith(this.#prefix)) return null;
    const name = path.slice(this.#prefix.length);
    return name.includes('/') || name.startsWith('.') ? null : name;
  }
}
