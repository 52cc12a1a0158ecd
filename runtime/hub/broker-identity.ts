import { type Broker, brokerBirth } from '#protocol/broker.ts';
import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';

/**
 * The server identity under which this hub reads rows. A server never takes an old identity again,
 * so a row read at any time after the identity was learnt was read under it as long as a later
 * submit still finds it (protocol W13).
 */
export class BrokerIdentity {
  readonly #broker: Broker;
  readonly #env: Env;
  #identity: string | null = null;

  constructor(options: { broker: Broker; env: Env }) {
    this.#broker = options.broker;
    this.#env = options.env;
  }

  /** As last heard; null before. */
  get last(): string | null {
    return this.#identity;
  }

  /** Of the Broker as last heard (`brokerBirth`); null before. */
  get birth(): string | null {
    return this.#identity === null ? null : brokerBirth(this.#identity);
  }

  /** Known identity; asks the Broker when none is. */
  async get(): Promise<string> {
    if (this.#identity === null) await this.refresh();
    if (this.#identity === null) throw new RangeError('the broker answered no identity');
    return this.#identity;
  }

  /** As `get`; null, and a word in the log, where the Broker does not answer. */
  async known(): Promise<string | null> {
    try {
      return await this.get();
    } catch (error) {
      this.#env.log.warn('broker.identity.failed', { detail: toEmpError(error).message });
      return null;
    }
  }

  async refresh(): Promise<{ identity: string; open: boolean }> {
    const answer = await this.#broker.identity();
    this.#identity = answer.identity;
    return answer;
  }

  set(identity: string): void {
    this.#identity = identity;
  }
}
