import { brokerBirth } from '#protocol/broker.ts';
import { type Env, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { HubId } from '#protocol/names.ts';
import type { HubRow, Records } from '#protocol/records.ts';
import type { BrokerIdentity } from './broker-identity.ts';

/**
 * Hubs that share records must share a Broker: each reconciles the Broker that it has with the records that
 * all have, so that with two of them one takes away what machines of the other run. Redis at the wrong
 * address or under another prefix looks like one that has lost everything; only the other hubs tell.
 */

/** Those of these hubs that say that they use another Broker. */
export function hubsElsewhere(
  hubs: readonly HubRow[],
  self: { hubId: HubId; broker: string | null },
): HubRow[] {
  if (self.broker === null) return [];
  return hubs.filter(
    ({ hubId, broker }) => hubId !== self.hubId && broker !== null && broker !== self.broker,
  );
}

export const otherBroker = (hubId: HubId) =>
  `hub ${hubId}, which shares these records, uses another Redis, database of it or EMP_REDIS_PREFIX: all hubs that share records must share one broker`;

/** What a hub that runs sees of the others, each time it registers. */
export class BrokerWatch {
  readonly #env: Env;
  readonly #toldAfterMs: number;
  /** Hubs that use another Broker, and since when they are seen to. */
  #elsewhere = new Map<HubId, number>();

  /** `toldAfterMs`: after a loss of all that the Broker had, hubs hear of it one after the other. */
  constructor(options: { env: Env; toldAfterMs: number }) {
    this.#env = options.env;
    this.#toldAfterMs = options.toldAfterMs;
  }

  note(hubs: readonly HubRow[], self: { hubId: HubId; broker: string | null }): void {
    const { clock, log } = this.#env;
    const other = hubsElsewhere(hubs, self);
    for (const { hubId } of other)
      if (!this.#elsewhere.has(hubId)) log.warn('peer.otherBroker', { hub: hubId });
    this.#elsewhere = new Map(
      other.map(({ hubId }) => [hubId, this.#elsewhere.get(hubId) ?? clock.monotonic()]),
    );
  }

  /** In words, for readiness; null when nothing is wrong. */
  fault(): string | null {
    const longAgoMs = this.#env.clock.monotonic() - this.#toldAfterMs;
    const other = [...this.#elsewhere].find(([, sinceMs]) => sinceMs <= longAgoMs);
    return other === undefined ? null : otherBroker(other[0]);
  }
}

/** Between two looks at those that differ, ms. */
const lookMs = 500;

/**
 * Resolves when no hub that runs on these records uses another Broker than this one, or when this one's does not
 * answer yet. Hubs that differ are looked at again until their time ends: it may be that a loss has not
 * been heard of, or that the records are a copy in which they were still running. Rejects with
 * CONFIG_INVALID where one goes on.
 */
export async function ensureSameBroker(options: {
  hubId: HubId;
  records: Pick<Records, 'listHubs'>;
  /** What it learns here is what this hub registers with. */
  identity: Pick<BrokerIdentity, 'refresh'>;
  env: Env;
}): Promise<void> {
  const { hubId, records, identity, env } = options;
  const untilOf = new Map<HubId, number>();
  for (;;) {
    const broker = await identity.refresh().then(
      (known) => brokerBirth(known.identity),
      () => null,
    );
    const other = hubsElsewhere(await records.listHubs(), { hubId, broker });
    if (other.length === 0) return;
    for (const { hubId: id, untilMs } of other) {
      const known = untilOf.get(id);
      // It was renewed with what it said before.
      if (known !== undefined && untilMs > known)
        throw new EmpError('CONFIG_INVALID', { detail: `REDIS_URL: ${otherBroker(id)}` });
      if (known === undefined) env.log.info('hub.otherBroker', { hub: id, untilMs });
      untilOf.set(id, untilMs);
    }
    await sleep(env.clock, lookMs);
  }
}
