import type { Env } from '#protocol/env.ts';
import { type ModelManifest, modelBytes } from '#protocol/model.ts';
import type { Records } from '#protocol/records.ts';

/**
 * Age at which all manifests are read again, ms: what another hub has registered is found by its id at
 * once, and until then only its size is missing where warm lanes are weighed.
 */
const refreshMs = 60_000;

/** The model registry as this hub knows it: read often, changed rarely. */
export class ModelDirectory {
  readonly #records: Records;
  readonly #env: Env;
  #models = new Map<string, ModelManifest>();
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(options: { records: Records; env: Env }) {
    this.#records = options.records;
    this.#env = options.env;
  }

  async get(modelId: string): Promise<ModelManifest | null> {
    await this.refreshIfOld();
    const known = this.#models.get(modelId);
    if (known !== undefined) return known;
    const found = await this.#records.getModel(modelId);
    if (found !== null) this.#models.set(modelId, found);
    return found;
  }

  /** What is known without asking the store. */
  peek(modelId: string): ModelManifest | null {
    return this.#models.get(modelId) ?? null;
  }

  async list(): Promise<ModelManifest[]> {
    await this.refreshIfOld();
    return [...this.#models.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async put(manifest: ModelManifest): Promise<void> {
    await this.#records.putModel(manifest);
    this.#models.set(manifest.id, manifest);
  }

  async refreshIfOld(): Promise<void> {
    if (this.#env.clock.monotonic() - this.#readMs < refreshMs) return;
    const models = await this.#records.listModels();
    this.#models = new Map(models.map((manifest) => [manifest.id, manifest]));
    this.#readMs = this.#env.clock.monotonic();
  }

  /** Bytes of a model that is known here; null for another. */
  bytesOf(modelId: string): number | null {
    const manifest = this.#models.get(modelId);
    return manifest === undefined ? null : modelBytes(manifest);
  }
}
