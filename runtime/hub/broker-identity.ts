import type { Broker } from '#protocol/broker.ts';

/**
 * The server identity under which this hub reads rows. A server never takes an old identity again,
 * so a row read at any time after the identity was learnt was read under it as long as a later
 * submit still finds it (protocol W13).
 */
export class BrokerIdentity {
  readonly #broker: Broker;
  #identity: string | null = null;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** Known identity; asks the Broker when none is. */
  async get(): Promise<string> {
    if (this.#identity === null) await this.refresh();
    if (this.#identity === null) throw new RangeError('the broker answered no identity');
    return this.#identity;
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
