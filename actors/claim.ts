import { fromPromise } from 'xstate';
import type { ClaimOffer, ClaimResult } from '#protocol/link.ts';
import type { LinkClient } from './link-client.ts';

/**
 * Numbers of the claims of this incarnation. It outlives the claimer: a number used twice would be
 * answered with the lease of its first use, and beats must name the one that is open.
 */
export class ClaimNumbers {
  #highest = 0;
  #open: ClaimOffer | null = null;

  get highest(): number {
    return this.#highest;
  }

  /** The request that was sent and not yet answered. */
  get open(): ClaimOffer | null {
    return this.#open;
  }

  sent(offer: ClaimOffer): void {
    this.#highest = Math.max(this.#highest, offer.requestId);
    this.#open = offer;
  }

  answered(offer: ClaimOffer): void {
    if (this.#open?.requestId === offer.requestId) this.#open = null;
  }
}

/** The effect of the claimer: one request, one answer. */
export function claimActors({ link, numbers }: { link: Pick<LinkClient, 'request'>; numbers: ClaimNumbers }) {
  return {
    claim: fromPromise<ClaimResult, { offer: ClaimOffer; deadlineMs: number }>(async ({ input, signal }) => {
      numbers.sent(input.offer);
      const result = await link.request('claim', input.offer, { deadlineMs: input.deadlineMs, signal });
      numbers.answered(input.offer);
      return result;
    }),
  };
}
