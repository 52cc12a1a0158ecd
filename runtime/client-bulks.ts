import type { Bulk, BulkRequestInput } from '#protocol/bulk.ts';
import { type Clock, sleep } from '#protocol/env.ts';
import type { Call, Signalled } from './client-call.ts';

/** How often a bulk action under way is looked at, ms. */
const lookMs = 500;

/** The bulk actions of a hub, as `client.bulks`. Every call rejects with the hub's own error. */
export class BulkCalls {
  readonly #call: Call;
  readonly #clock: Clock;

  constructor(call: Call, clock: Clock) {
    this.#call = call;
    this.#clock = clock;
  }

  /** The newest hundred. */
  async list(options: Signalled = {}): Promise<Bulk[]> {
    return (await this.#call<{ items: Bulk[] }>({ path: '/v1/bulks', signal: options.signal })).items;
  }

  get(id: string, options: Signalled = {}): Promise<Bulk> {
    return this.#one({ path: pathOf(id), signal: options.signal });
  }

  /** Begins one; with `dryRun` it only says how many jobs it would meet. */
  start(request: BulkRequestInput, options: Signalled = {}): Promise<Bulk> {
    return this.#one({ method: 'POST', path: '/v1/bulks', json: request, signal: options.signal });
  }

  /** Resolves when it runs no more; tells how far it has come in between. */
  async wait(id: string, options: Signalled & { onProgress?: (bulk: Bulk) => void } = {}): Promise<Bulk> {
    for (let seen = 0; ; ) {
      const bulk = await this.get(id, options);
      if (bulk.state !== 'running') return bulk;
      if (bulk.done + bulk.refused > seen) options.onProgress?.(bulk);
      seen = bulk.done + bulk.refused;
      await sleep(this.#clock, lookMs, options.signal);
    }
  }

  /** What was done stays done. */
  abort(id: string, options: Signalled = {}): Promise<Bulk> {
    return this.#one({ method: 'POST', path: `${pathOf(id)}/abort`, json: {}, signal: options.signal });
  }

  async #one(asked: Parameters<Call>[0]): Promise<Bulk> {
    return (await this.#call<{ bulk: Bulk }>(asked)).bulk;
  }
}

const pathOf = (id: string) => `/v1/bulks/${encodeURIComponent(id)}`;
