import type { Limit, LimitDefinitionInput } from '#protocol/limit.ts';
import type { Call, Signalled } from './client-call.ts';

/**
 * A limit with how many jobs it has let in now, and how many wait: 10 001 = more than 10 000, null where it
 * says nothing of them or the hub has not counted them yet.
 */
export type LimitInUse = Limit & { admitted: number; waitingNow: number | null };

/** The limits of a hub, as `client.limits`. Every call rejects with the hub's own error. */
export class LimitCalls {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  async list(options: Signalled = {}): Promise<LimitInUse[]> {
    const answer = await this.#call<{ items: LimitInUse[] }>({ path: '/v1/limits', signal: options.signal });
    return answer.items;
  }

  async get(name: string, options: Signalled = {}): Promise<LimitInUse> {
    const answer = await this.#call<{ limit: LimitInUse }>({ path: pathOf(name), signal: options.signal });
    return answer.limit;
  }

  /**
   * Keeps a limit under this name, or changes the one that is there. What runs goes on. `warnings` say that
   * the hub knows nothing of the pool or model that it names.
   */
  async put(
    name: string,
    definition: LimitDefinitionInput,
    options: Signalled = {},
  ): Promise<{ limit: Limit; warnings: string[] }> {
    const answer = await this.#call<{ limit: Limit; warnings?: string[] }>({
      method: 'PUT',
      path: pathOf(name),
      json: definition,
      signal: options.signal,
    });
    return { limit: answer.limit, warnings: answer.warnings ?? [] };
  }

  /** What it held is let in. */
  async remove(name: string, options: Signalled = {}): Promise<void> {
    await this.#call({ method: 'DELETE', path: pathOf(name), signal: options.signal });
  }
}

const pathOf = (name: string) => `/v1/limits/${encodeURIComponent(name)}`;
