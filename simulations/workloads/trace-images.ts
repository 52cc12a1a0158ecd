import type { ImageFamily } from '#simulations/reality/catalogue.ts';
import type { CsvRow } from './csv-rows.ts';
import type { ImageRequest, Trace } from './trace.ts';

/** GenTD26 (alibaba/clusterdata, cluster-trace-v2026-GenAI), its two request files joined. */
export const imageColumns = [
  't_s',
  'predict_type',
  'status',
  'exec_s',
  'group',
  'prompt_chars',
  'images',
  'steps',
  'base_model',
  'loras',
];

const secondsLimit = 315_360_000;
const lorasLimit = 16;

/**
 * A warm run takes 0.85 of the 25th percentile of all runs of the same base model, steps and images: the times
 * in the trace include loads and queues. Source: the routing prototype.
 */
const warmShare = 0.85;
const warmQuantile = 0.25;
/** Shorter than that no request to an image service is, ms: an assumption for rows with 0 s. */
const leastRunMs = 500;

/**
 * Families by median run time: the trace has no names and no sizes. Source: the routing prototype; under 20 s
 * SD1.5, under 55 s SDXL, else Flux.
 */
function familyOf(medianSeconds: number): ImageFamily {
  if (medianSeconds < 20) return 'sd15';
  return medianSeconds < 55 ? 'sdxl' : 'flux';
}

interface Row {
  request: ImageRequest;
  seconds: number;
  like: string;
}

/** Collects the rows of such a file; `end` makes the trace of them. */
export class ImageTraceReader {
  readonly #rows: Row[] = [];
  #skipped = 0;
  #lastMs = 0;

  row(row: CsvRow): void {
    const atMs = Math.round(row.number('t_s', { min: 0, max: secondsLimit }) * 1000);
    if (atMs < this.#lastMs)
      throw row.refusal('t_s', 'it is earlier than the row before; sort the rows by t_s');
    this.#lastMs = atMs;
    const status = row.text('status');
    if (status === 'PENDING') {
      this.#skipped++;
      return;
    }
    if (status !== 'SUCCEED' && status !== 'FAILED') {
      throw row.refusal('status', `"${status.slice(0, 40)}" is none of SUCCEED, FAILED, PENDING`);
    }
    const base = row.name('base_model');
    const steps = row.number('steps', { min: 0, max: 10_000 });
    const images = row.number('images', { min: 0, max: 10_000 });
    const seconds = row.number('exec_s', { min: 0, max: 604_800 });
    const request = { atMs, user: row.name('group'), base, loras: lorasOf(row), runMs: leastRunMs };
    this.#rows.push({ request, seconds, like: `${base} ${steps} ${images}` });
  }

  end(file: string): Trace {
    const warm = byKey(
      this.#rows,
      (row) => row.like,
      (seconds) => quantile(seconds, warmQuantile) * warmShare,
    );
    const families = byKey(
      this.#rows,
      (row) => row.request.base,
      (seconds) => familyOf(quantile(seconds, 0.5)),
    );
    const requests = this.#rows.map(({ request, like }) => ({
      ...request,
      runMs: Math.max(leastRunMs, Math.round((warm.get(like) ?? 0) * 1000)),
    }));
    return { kind: 'images', file, requests, families, skipped: this.#skipped };
  }
}

function lorasOf(row: CsvRow): string[] {
  const text = row.text('loras');
  if (text === '') return [];
  const loras = text.split('|');
  if (loras.length > lorasLimit) throw row.refusal('loras', `more than ${lorasLimit} of them`);
  for (const lora of loras) {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(lora)) continue;
    throw row.refusal('loras', `"${lora.slice(0, 40)}" is no name; names are joined by |`);
  }
  return [...new Set(loras)];
}

/** One figure per key from all run times under it. */
function byKey<T>(
  rows: readonly Row[],
  key: (row: Row) => string,
  figure: (sorted: number[]) => T,
): Map<string, T> {
  const seconds = new Map<string, number[]>();
  for (const row of rows) {
    const known = seconds.get(key(row));
    if (known === undefined) seconds.set(key(row), [row.seconds]);
    else known.push(row.seconds);
  }
  return new Map([...seconds].map(([name, values]) => [name, figure(values.sort((a, b) => a - b))]));
}

/** Nearest rank below, of a sorted list that is not empty. */
const quantile = (sorted: readonly number[], share: number) =>
  sorted[Math.floor(share * (sorted.length - 1))] as number;
