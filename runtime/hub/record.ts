import type { BrokerPulse } from '#protocol/broker.ts';
import type { Hub } from './hub.ts';
import type { RoleLease } from './roles.ts';

const copyLimit = 1_000;
const assignLimit = 2_000;

/**
 * The recorder: copies the Broker's events to Records by cursor, gives every committed event its
 * `seq`, and publishes. Only the holder of the role runs it; a stale one stops at once.
 */
export class Recorder {
  readonly #hub: Hub;
  readonly #role: RoleLease;
  #cursor: { identity: string; after: number } | null = null;

  constructor(hub: Hub, role: RoleLease) {
    this.#hub = hub;
    this.#role = role;
  }

  /** A new holder reads the cursor again: another one has moved it. */
  forget(): void {
    this.#cursor = null;
  }

  /**
   * Answers when to look again, ms: what other hubs commit is not announced here. A `pulse` of the
   * Broker may tell that it has no event behind the cursor.
   */
  async run(pulse: BrokerPulse | null = null): Promise<number> {
    // What is committed in Records is numbered and shown even while the Broker does not answer.
    let failure: { error: unknown } | null = null;
    try {
      if (!this.#hasAll(pulse)) await this.#copy();
    } catch (error) {
      this.#cursor = null;
      failure = { error };
    }
    await this.#hub.events.publish(await this.#assign());
    if (this.#role.current() !== null) this.#hub.peers.recorded(this.#hub.events.highest);
    if (failure !== null) throw failure.error;
    return this.#hub.config.recordEveryMs;
  }

  async #copy(): Promise<void> {
    for (;;) {
      const lease = this.#role.current();
      if (lease === null) return;
      const after = this.#cursor?.after ?? 0;
      const { identity, events } = await this.#hub.broker.events({ after, limit: copyLimit });
      if (this.#cursor?.identity !== identity) {
        // Another server: its events have numbers, and a cursor, of their own.
        this.#cursor = { identity, after: await this.#hub.records.recorderCursor(identity) };
        continue;
      }
      if (events.length === 0) return;
      const answer = await this.#hub.records.recordBrokerEvents({ identity, events, lease });
      if (answer.kind === 'staleSingleton') return this.#role.stale();
      await this.#hub.broker.trimEvents({ identity, upTo: answer.value.cursor });
      this.#cursor = { identity, after: answer.value.cursor };
      if (events.length < copyLimit) return;
    }
  }

  #hasAll(pulse: BrokerPulse | null): boolean {
    const cursor = this.#cursor;
    return pulse !== null && pulse.identity === cursor?.identity && pulse.lastEventId <= cursor.after;
  }

  /** Answers how far the numbers have come; undefined where the role is gone. */
  async #assign(): Promise<number | undefined> {
    for (;;) {
      const lease = this.#role.current();
      if (lease === null) return undefined;
      const answer = await this.#hub.records.assignSeq({ limit: assignLimit, lease });
      if (answer.kind === 'staleSingleton') {
        this.#role.stale();
        return undefined;
      }
      if (answer.value.assigned < assignLimit) return answer.value.highestSeq;
    }
  }
}
