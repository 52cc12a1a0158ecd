import { z } from 'zod';

/** Words that drivers and providers put beside the name of a model. */
const beside = new Set(['nvidia', 'geforce', 'tesla', 'quadro', 'amd', 'radeon', 'generation', 'gpu']);
/** Size and kind of its memory: not part of the name, `vramMb` asks for it. */
const memory = /^(?:\d+gi?b|g?ddr\d[a-z]?|hbm\d[a-z]?)$/;

/**
 * The name of a card's model without what drivers and providers write differently: case, vendor,
 * blanks, hyphens and underscores, memory. `NVIDIA GeForce RTX 4090`, `RTX 4090 (24 GB)` and
 * `RTX_4090` are `rtx4090`, `NVIDIA A100-SXM4-80GB` is `a100sxm4`. What makes another card stays:
 * `rtx4070ti`, `rtx4090laptop`. Empty where nothing is left.
 */
export function gpuModel(printed: string): string {
  return printed
    .toLowerCase()
    .replace(/\([^)]*\)/g, ' ')
    .replace(/(\d+)\s+(gi?b)\b/g, '$1$2')
    .split(/[^a-z0-9]+/)
    .filter((word) => !beside.has(word) && !memory.test(word))
    .join('');
}

/** A model as anybody prints it. */
export const GpuName = z
  .string()
  .min(1)
  .max(96)
  .refine((printed) => gpuModel(printed) !== '', 'this names no model of a card: write it as RTX 4090')
  .refine(
    (printed) => gpuModel(printed).length <= 48,
    'the name of a model has at most 48 letters and digits',
  );

/** A model as machines report it and groups hold it: what `gpuModel` leaves. */
export const GpuModel = z.string().regex(/^[a-z0-9]{1,48}$/, 'a model of a card has 1 to 48 of a-z 0-9');
export type GpuModel = z.infer<typeof GpuModel>;
