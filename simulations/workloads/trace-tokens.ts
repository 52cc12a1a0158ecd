import type { CsvRow } from './csv-rows.ts';
import type { TokenRequest, Trace } from './trace.ts';

/** Columns of a trace of language models, and what one unit of its clock is in ms. */
export interface TokenFormat {
  columns: readonly string[];
  time: string;
  unitMs: number;
  prompt: string;
  generated: string;
}

/** Azure's LLM traces of 2023, code and conversation (Azure/AzurePublicDataset). */
export const azureFormat: TokenFormat = {
  columns: ['t_s', 'context_tokens', 'generated_tokens'],
  time: 't_s',
  unitMs: 1_000,
  prompt: 'context_tokens',
  generated: 'generated_tokens',
};

/** Mooncake's conversation trace (kvcache-ai/Mooncake); the blocks of its prefix cache are not used. */
export const mooncakeFormat: TokenFormat = {
  columns: ['t_ms', 'input_tokens', 'output_tokens', 'prefix_blocks'],
  time: 't_ms',
  unitMs: 1,
  prompt: 'input_tokens',
  generated: 'output_tokens',
};

const spanLimitMs = 315_360_000_000;
const tokens = { min: 0, max: 10_000_000 };

/** Collects the rows of such a file; `end` makes the trace of them. */
export class TokenTraceReader {
  readonly #format: TokenFormat;
  readonly #requests: TokenRequest[] = [];

  constructor(format: TokenFormat) {
    this.#format = format;
  }

  row(row: CsvRow): void {
    const { time, unitMs, prompt, generated } = this.#format;
    const atMs = Math.round(row.number(time, { min: 0, max: spanLimitMs / unitMs }) * unitMs);
    if (atMs < (this.#requests.at(-1)?.atMs ?? 0)) {
      throw row.refusal(time, `it is earlier than the row before; sort the rows by ${time}`);
    }
    const request = { atMs, prompt: row.number(prompt, tokens), generated: row.number(generated, tokens) };
    this.#requests.push(request);
  }

  end(file: string): Trace {
    return { kind: 'tokens', file, requests: this.#requests };
  }
}
