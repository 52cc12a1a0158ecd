import type { Pause } from '#protocol/records.ts';
import type { Call, Signalled } from './client-call.ts';

/** What operators hold back, as `client.pauses`. Every call rejects with the hub's own error. */
export class PauseCalls {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  async list(options: Signalled = {}): Promise<Pause[]> {
    const answer = await this.#call<{ items: Pause[] }>({ path: '/v1/pauses', signal: options.signal });
    return answer.items;
  }

  /**
   * Gives nobody work of this pool, service or customer until it is removed. What runs goes on. `warnings`
   * say that the hub knows nothing of this name.
   */
  async put(
    { kind, name, reason }: Pick<Pause, 'kind' | 'name'> & { reason?: string | undefined },
    options: Signalled = {},
  ): Promise<{ pause: Pause; warnings: string[] }> {
    const answer = await this.#call<{ pause: Pause; warnings?: string[] }>({
      method: 'PUT',
      path: pathOf({ kind, name }),
      json: reason === undefined ? {} : { reason },
      signal: options.signal,
    });
    return { pause: answer.pause, warnings: answer.warnings ?? [] };
  }

  /** Rejects with NOT_FOUND where it is not held back. */
  async remove(asked: Pick<Pause, 'kind' | 'name'>, options: Signalled = {}): Promise<void> {
    await this.#call({ method: 'DELETE', path: pathOf(asked), signal: options.signal });
  }
}

const pathOf = ({ kind, name }: Pick<Pause, 'kind' | 'name'>) =>
  `/v1/pauses/${kind}/${encodeURIComponent(name)}`;
