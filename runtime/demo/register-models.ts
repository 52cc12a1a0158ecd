import type { HubClient } from '#runtime/client.ts';
import { builtInFiles, builtInModels } from '#runtime/models/catalogue.ts';

/**
 * Puts the weights of the built-in networks into the hub's object store and registers them; answers
 * their ids. Files are kept by their hash and a repeated registration is the same one, so this may run
 * on every start. Rejects as `HubClient.putModel` does, `CONFIG_INVALID` where a package is missing.
 */
export async function registerBuiltInModels(
  client: HubClient,
  options: { signal?: AbortSignal; onModel?: (modelId: string) => void } = {},
): Promise<string[]> {
  const files = builtInFiles();
  for (const { manifest } of builtInModels) {
    options.onModel?.(manifest.id);
    const own = files.filter(({ modelId }) => modelId === manifest.id);
    const paths = new Map(own.map(({ file, absolutePath }) => [file.name, absolutePath]));
    await client.putModel(manifest, paths, { signal: options.signal });
  }
  return builtInModels.map(({ manifest }) => manifest.id);
}
