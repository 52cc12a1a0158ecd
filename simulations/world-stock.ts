import type { ModelManifest } from '#protocol/model.ts';
import type { Records } from '#protocol/records.ts';
import type { SimObjects } from './sim-objects.ts';

/** What lies in the object store of a world before anything runs, for jobs to name. */
export const stockModels = ['base-a', 'base-b', 'base-c', 'lora-d', 'lora-e'] as const;
export const stockInputs = ['uploads/cat.png', 'uploads/dog.png'] as const;

const smallestBytes = 300_000;
const stepBytes = 120_000;

/** Bytes that follow from a number: different files, the same in every run. */
function bytesOf(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + number * 17) & 0xff;
  return bytes;
}

/** Registers the models and uploads their files and the inputs. */
export async function stock(objects: SimObjects, records: Records): Promise<void> {
  for (const [index, id] of stockModels.entries()) {
    const bytes = bytesOf(index, smallestBytes + index * stepBytes);
    const { sha256 } = objects.store({ key: `stock/${id}`, bytes, mime: 'application/octet-stream' });
    objects.store({ key: `models/${sha256}`, bytes, mime: 'application/octet-stream' });
    const manifest: ModelManifest = {
      id,
      service: 'simulation',
      kind: id.startsWith('base') ? 'checkpoint' : 'lora',
      files: [{ name: 'weights.bin', bytes: bytes.length, sha256, sources: [] }],
      memoryMb: 1,
      licence: 'none: invented bytes',
    };
    await records.putModel(manifest);
  }
  for (const [index, key] of stockInputs.entries())
    objects.store({ key, bytes: bytesOf(100 + index, 20_000), mime: 'image/png' });
}
