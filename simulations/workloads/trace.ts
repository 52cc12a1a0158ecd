import type { ImageFamily } from '#simulations/reality/catalogue.ts';
import type { Lane } from './supply.ts';

/** A request for images out of a trace. */
export interface ImageRequest {
  atMs: number;
  user: string;
  base: string;
  loras: string[];
  /** Run time with every model in memory, as estimated from the trace, ms. */
  runMs: number;
}

/** A request to a language model out of a trace. */
export interface TokenRequest {
  atMs: number;
  prompt: number;
  generated: number;
}

/** What a trace file holds; times are ms from the zero of the trace, in order. */
export type Trace =
  | {
      kind: 'images';
      file: string;
      requests: ImageRequest[];
      /** Families that the base models were given. */
      families: Map<string, ImageFamily>;
      /** Rows that never ran and are left out. */
      skipped: number;
    }
  | { kind: 'tokens'; file: string; requests: TokenRequest[] }
  | { kind: 'spot'; file: string; lanes: Lane[] };
