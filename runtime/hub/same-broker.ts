import { type Env, sleep } from '#protocol/env.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import type { HubId } from '#protocol/names.ts';
import type { HubRow, Records } from '#protocol/records.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import type { BrokerIdentity } from './broker-identity.ts';

/**
 * Hubs that share records must share a Broker: each reconciles the Broker that it has with the records that
 * all have, so that with two of them one takes away what machines of the other run. Redis at the wrong
 * address or under another prefix looks like one that has lost everything; only the other hubs tell. Of
 * hubs that differ the one that started first counts as right, so that one wrong hub does not stop all.
 */

type Identity = Pick<BrokerIdentity, 'birth' | 'refresh'>;

/** Of the hubs that tell their Broker the one that started first, by the store's clock. */
export function eldestHub(hubs: readonly HubRow[]): HubRow | null {
  const telling = hubs.filter(({ broker }) => broker !== null);
  telling.sort((a, b) => a.startedAtMs - b.startedAtMs || (a.hubId < b.hubId ? -1 : 1));
  return telling[0] ?? null;
}

export const otherBroker = (hubId: HubId) =>
  `hub ${hubId}, which shares these records, uses another Redis, database of it or EMP_REDIS_PREFIX: all hubs that share records must share one broker`;

/** What a hub that runs tells of its Broker and sees of the others, each time it registers. */
export class BrokerWatch {
  readonly #options: { env: Env; identity: Identity; toldAfterMs: number; changed: () => void };
  /** What was registered last. */
  #told: string | null = null;
  #asking = false;
  /** The eldest hub, while it uses another Broker, and since when it is seen to. */
  #elsewhere: { hubId: HubId; sinceMs: number } | null = null;

  /**
   * `toldAfterMs`: after a loss of all that the Broker had, hubs hear of it one after the other. `changed`: the
   * Broker is another than the one that was told.
   */
  constructor(options: { env: Env; identity: Identity; toldAfterMs: number; changed: () => void }) {
    this.#options = options;
  }

  /** Birth of the Broker to register with, as it is known; null while it is not. */
  tell(): string | null {
    this.#told = this.#options.identity.birth;
    return this.#told;
  }

  async #hear(): Promise<void> {
    const { env, identity, changed } = this.#options;
    this.#asking = true;
    try {
      await identity.refresh();
      if (identity.birth !== this.#told) changed();
    } catch (error) {
      // Readiness tells of it; what was known stands.
      env.log.debug('broker.identity.failed', { detail: toEmpError(error).message });
    } finally {
      this.#asking = false;
    }
  }

  /**
   * The hubs as of the last registration. Where another tells another Broker, this one's is asked beside it: a hub
   * without any work hears of a loss by those that have put the Broker in order.
   */
  note(hubs: readonly HubRow[], selfId: HubId): void {
    const { env, identity } = this.#options;
    const eldest = eldestHub(hubs);
    const { birth } = identity;
    const isAlone = hubs.every(
      ({ hubId, broker }) => hubId === selfId || broker === null || broker === birth,
    );
    if (!isAlone && !this.#asking) void this.#hear();
    if (eldest === null || birth === null || eldest.hubId === selfId || eldest.broker === birth) {
      this.#elsewhere = null;
      return;
    }
    const { hubId } = eldest;
    if (this.#elsewhere?.hubId !== hubId) env.log.warn('peer.otherBroker', { hub: hubId });
    this.#elsewhere = { hubId, sinceMs: this.#elsewhere?.sinceMs ?? env.clock.monotonic() };
  }

  /** In words, for readiness; null when nothing is wrong. */
  fault(): string | null {
    const longAgoMs = this.#options.env.clock.monotonic() - this.#options.toldAfterMs;
    const other = this.#elsewhere;
    return other === null || other.sinceMs > longAgoMs ? null : otherBroker(other.hubId);
  }
}

/** Between two looks at one that differs, ms. */
const lookMs = 500;
/** At its first renewal after a loss a hub may say what it knew before; it sees there that this one differs, and asks. */
const renewalsLimit = 2;

/**
 * Registers this hub, as one that is reached nowhere yet, and answers its run when no hub that runs on these
 * records goes on with another Broker; null, unregistered, where this one's Broker does not answer. Who
 * registers before it looks is seen by one that starts at the same time: of the two the younger is
 * refused. One that differs is looked at again until it has been renewed twice, has ended or differs no
 * more: it may be that a loss has not been heard of, or that the records are a copy in which it was still
 * running. Rejects with CONFIG_INVALID, unregistered, where one goes on.
 */
export async function ensureSameBroker(options: {
  hubId: HubId;
  ttlMs: number;
  records: Pick<Records, 'registerHub' | 'listHubs' | 'unregisterHub'>;
  /** What it learns here is what this hub registers with. */
  identity: Identity;
  env: Env;
}): Promise<number | null> {
  const { hubId, ttlMs, records, identity, env } = options;
  const renewals = new Renewals();
  let run: number | null = null;
  for (;;) {
    const broker = await identity.refresh().then(
      () => identity.birth,
      () => null,
    );
    if (broker === null) return run;
    const answer = await records.registerHub({ hubId, run, url: null, version: hubVersion, broker, ttlMs });
    // A newer process has the id: this one is told so at its next word.
    if (answer.kind === 'superseded') return run;
    run = answer.run;
    // Read after the own row is committed: of two that start at once one at least sees the other.
    const other = rivalOf(await records.listHubs(), { hubId, broker });
    if (other === null) return run;
    const seen = renewals.note(other, broker);
    if (seen === 0) env.log.info('hub.otherBroker', { hub: other.hubId, untilMs: other.untilMs });
    // A younger one that is reached nowhere is still to be refused itself, by this same check.
    if (seen >= renewalsLimit && (other.isElder || other.url !== null)) {
      await records.unregisterHub({ hubId, run });
      throw new EmpError('CONFIG_INVALID', { detail: `REDIS_URL: ${otherBroker(other.hubId)}` });
    }
    await sleep(env.clock, lookMs);
  }
}

/** The hub to wait for or to yield to: the eldest where it differs; where this one is the eldest, any that differs. */
function rivalOf(
  hubs: readonly HubRow[],
  self: { hubId: HubId; broker: string },
): (HubRow & { isElder: boolean }) | null {
  const eldest = eldestHub(hubs);
  if (eldest !== null && eldest.hubId !== self.hubId)
    return eldest.broker === self.broker ? null : { ...eldest, isElder: true };
  const other = hubs.find(
    ({ hubId, broker }) => hubId !== self.hubId && broker !== null && broker !== self.broker,
  );
  return other === undefined ? null : { ...other, isElder: false };
}

/** How often a hub has been renewed with the same word since it was first seen to differ from the same own one. */
class Renewals {
  #key = '';
  #untilMs = 0;
  #seen = 0;

  note({ hubId, run, broker, untilMs }: HubRow, own: string): number {
    const key = JSON.stringify([hubId, run, broker, own]);
    if (key !== this.#key) this.#seen = 0;
    else if (untilMs > this.#untilMs) this.#seen++;
    this.#key = key;
    this.#untilMs = untilMs;
    return this.#seen;
  }
}
