import { z } from 'zod';
import { FileName, ModelId, ServiceName } from './names.ts';

export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 hex digits in lower case');

export const ModelFile = z.strictObject({
  name: FileName,
  bytes: z.int().min(1).max(1_099_511_627_776),
  sha256: Sha256,
  /** Where else the file can be had, tried in order after the object store. */
  sources: z
    .array(z.url({ protocol: /^https?$/ }).max(2_048))
    .max(8)
    .default([]),
});
export type ModelFile = z.infer<typeof ModelFile>;

/** A registered model: named, sized and hashed, so that every machine can check what it got. */
export const ModelManifest = z.strictObject({
  id: ModelId,
  service: ServiceName,
  /** Role in the service: `checkpoint`, `lora`, `vae`, `upscaler`, … */
  kind: z.string().min(1).max(64),
  files: z.array(ModelFile).min(1).max(64),
  /** Memory it needs when loaded, MiB. */
  memoryMb: z.int().min(0).max(1_000_000),
  licence: z.string().min(1).max(200),
});
export type ModelManifest = z.infer<typeof ModelManifest>;

/** Bytes of all files of a model. */
export function modelBytes(manifest: ModelManifest): number {
  return manifest.files.reduce((sum, file) => sum + file.bytes, 0);
}

/** Object key of a model file: content-addressed, so equal files are stored and fetched once. */
export function modelObjectKey(file: Pick<ModelFile, 'sha256'>): string {
  return `models/${file.sha256}`;
}

/** Where a model is on one machine. */
export const ResidencyState = z.enum(['gone', 'fetching', 'resident', 'loaded', 'evicting']);
export type ResidencyState = z.infer<typeof ResidencyState>;

export const Residency = z.strictObject({
  modelId: ModelId,
  state: ResidencyState,
  bytes: z.int().min(0),
  /** Share fetched so far, in steps of a tenth while fetching; 1 once resident. */
  fraction: z.number().min(0).max(1),
  /** Version of this entry: the writer's counter at its last change. */
  version: z.int().min(1),
});
export type Residency = z.infer<typeof Residency>;
