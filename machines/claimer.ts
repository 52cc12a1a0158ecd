import { assign, setup } from 'xstate';
import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import type { Rng } from '#protocol/env.ts';
import type { ClaimOffer, ClaimResult } from '#protocol/link.ts';
import { chartOptions } from './chart-options.ts';
import type { LinkStateEvent } from './link.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

type Free = ClaimOffer['free'];

/** The request that is under way, as it must be repeated. */
export interface OpenClaim {
  offer: ClaimOffer;
  /** The run whose completion carries it; null = asked on its own. */
  rider: string | null;
}

export interface ClaimerSettings {
  /** Limit for one answer, ms. */
  deadlineMs: number;
  /** Waits before an unanswered claim, or one that found the Broker closed, is repeated. */
  retry: RetryDelays;
}

export interface ClaimerInput {
  settings: ClaimerSettings;
  rng: Rng;
  /** Highest number used before and the request that was open: a restarted claimer goes on from them. */
  highestRequestId: number;
  open: ClaimOffer | null;
  /** The machine has begun to drain before this claimer was started. */
  draining: boolean;
}

export type ClaimerEvent =
  | LinkStateEvent
  | { type: 'claim.fenced' }
  | { type: 'claim.held' }
  | { type: 'claim.wanted' }
  | { type: 'claim.cordon'; cordoned: boolean }
  | { type: 'claim.drain' }
  /**
   * `shut`: services for which nothing may be asked, whatever comes free. `staged`: services whose next
   * free slot is promised to a job that is here already.
   */
  | { type: 'claim.free'; free: Free; shut?: string[]; staged?: string[] }
  | { type: 'claim.resident'; resident: string[] }
  /** A run is about to complete and could carry a claim; its slot counts as free. Answered by `ride.offer`. */
  | { type: 'ride.ask'; run: string; service: string }
  | { type: 'ride.answered'; run: string; result: ClaimResult }
  /** The completion ended without an answer to the claim that it carried. */
  | { type: 'ride.lost'; run: string };

interface Context {
  settings: ClaimerSettings;
  rng: Rng;
  highestRequestId: number;
  open: OpenClaim | null;
  /** `unscanned`: what is on disk is not known yet, and a claim would be answered as if nothing were. */
  blocks: { offline: boolean; fenced: boolean; cordoned: boolean; draining: boolean; unscanned: boolean };
  free: Free;
  /** Slots that a ride has asked for and that are not told free yet: their coming free is no news. */
  asked: Free;
  shut: string[];
  staged: string[];
  resident: string[];
  /** Work may be there: false after an empty answer, until something says otherwise. */
  wanted: boolean;
  /** Said so while a claim was under way: its answer may be older than the news. */
  news: boolean;
  tries: number;
}

const slots = (free: Free) => free.reduce((sum, entry) => sum + entry.slots, 0);

/** One slot of a service more (`by` = 1) or fewer (−1). */
function changed(free: Free, service: string, by: 1 | -1): Free {
  const known = free.some((entry) => entry.service === service);
  const all = known ? free : [...free, { service, slots: 0 }];
  return all.map((entry) =>
    entry.service === service ? { service, slots: Math.max(0, entry.slots + by) } : entry,
  );
}

const slotsOf = (free: Free, service: string) => free.find((entry) => entry.service === service)?.slots ?? 0;

/** Whether a service has more slots than it had and than were asked for. */
const grew = ({ free, asked }: Pick<Context, 'free' | 'asked'>, after: Free) =>
  after.some(({ service, slots: now }) => now > Math.max(slotsOf(free, service), slotsOf(asked, service)));

const mayClaim = ({ blocks, open, wanted }: Context) =>
  open === null && wanted && !Object.values(blocks).includes(true);

const offerOf = (context: Context, free: Free): ClaimOffer => ({
  requestId: context.highestRequestId + 1,
  free,
  resident: context.resident,
});

const base = setup({
  types: { context: {} as Context, input: {} as ClaimerInput, events: {} as ClaimerEvent },
  actors: { claim: unprovided<ClaimResult, { offer: ClaimOffer; deadlineMs: number }>() },
  actions: {
    tell: safeSend,
    /** Hands on what an answer means for others. */
    act: ({ system, self }, { result }: { result: ClaimResult }) => {
      const say = (to: string, event: { type: string } & Record<string, unknown>) =>
        safeSend({ system, self }, { to, event });
      if (result.kind === 'leased') say('runs', { type: 'runs.start', assignment: result.assignment });
      if (result.kind === 'lapsed') say('lease', { type: 'lease.lapsed' });
      if (result.kind === 'superseded') say('supervisor', { type: 'machine.superseded' });
    },
  },
  guards: {
    mayClaim: ({ context }) => mayClaim(context) && slots(context.free) > 0,
    mayRepeat: ({ context }) =>
      context.open !== null &&
      context.open.rider === null &&
      !context.blocks.offline &&
      // What the hub may have leased for it goes back with the farewell; if it never arrived, it must not now.
      !context.blocks.draining,
    // The slot of a run that ends is not free where a job has been prepared for it: one more would only
    // wait here while another machine may be idle.
    mayRide: ({ context, event }) => {
      const { service } = event as Extract<ClaimerEvent, { type: 'ride.ask' }>;
      const { shut, staged } = context;
      return mayClaim({ ...context, wanted: true }) && !shut.includes(service) && !staged.includes(service);
    },
    ownRide: ({ context, event }) => context.open?.rider === (event as { run: string }).run,
  },
  delays: {
    retryMs: ({ context }) => retryDelayMs(Math.max(1, context.tries), context.settings.retry, context.rng),
  },
});

const block = (change: Partial<Context['blocks']>) =>
  base.assign({ blocks: ({ context }) => ({ ...context.blocks, ...change }) });

const online = base.assign(({ context, event }) => {
  const { cordoned } = (event as Extract<LinkStateEvent, { type: 'link.online' }>).welcome;
  return { blocks: { ...context.blocks, offline: false, cordoned }, wanted: true };
});

const openClaim = base.assign(({ context }) => {
  const offer = offerOf(context, context.free);
  return { open: { offer, rider: null }, highestRequestId: offer.requestId, news: false };
});

const openRide = base.assign(({ context, event }) => {
  const { run, service } = event as Extract<ClaimerEvent, { type: 'ride.ask' }>;
  const offer = offerOf(context, changed(context.free, service, 1));
  return { open: { offer, rider: run }, asked: offer.free, highestRequestId: offer.requestId, news: false };
});

/** What an answer changes here. A leased slot is taken at once: the news from `runs` comes a step later. */
function settled(context: Context, result: ClaimResult): Partial<Context> {
  const closed = { open: null, tries: 0 };
  switch (result.kind) {
    case 'leased':
      return {
        ...closed,
        // Whoever has a slot left asks once more, also where nothing more waits now: only an empty answer
        // makes this machine known as idle, and the next job would find nobody to wake.
        wanted: true,
        asked: [],
        free: changed(context.free, result.assignment.service, -1),
      };
    case 'empty':
      return { ...closed, wanted: context.news };
    case 'cordoned':
      return { ...closed, blocks: { ...context.blocks, cordoned: true } };
    case 'lapsed':
      return { ...closed, wanted: true, blocks: { ...context.blocks, fenced: true } };
    case 'superseded':
      // The whole machine ends; until it has, nothing is asked.
      return { ...closed, wanted: false, blocks: { ...context.blocks, draining: true } };
    case 'closed':
      return { ...closed, tries: context.tries + 1, wanted: true };
  }
}

/**
 * Asks for work: when a slot is free, the lease is held and work may be there. At most one request is
 * open per machine, and it is repeated under its number until it is answered or the machine drains. `resting` is left when
 * all that holds; `claiming` by an answer; `repeating` by time or a new link; `riding`, while a
 * completion carries the claim, by that run. An empty answer is not asked again: a wake, a beat or a
 * freed slot says when there is work.
 */
export const claimerChart = base.createMachine({
  id: 'claimer',
  context: ({ input }) => ({
    ...input,
    open: input.open === null ? null : { offer: input.open, rider: null },
    blocks: { offline: true, fenced: true, cordoned: false, draining: input.draining, unscanned: true },
    free: [],
    asked: [],
    shut: [],
    staged: [],
    resident: [],
    wanted: true,
    news: false,
    tries: 0,
  }),
  on: {
    'link.online': { actions: online },
    'link.offline': { actions: block({ offline: true }) },
    'claim.fenced': { actions: block({ fenced: true }) },
    'claim.held': { actions: block({ fenced: false }) },
    'claim.drain': { actions: block({ draining: true }) },
    'claim.cordon': {
      actions: assign({
        blocks: ({ context, event }) => ({ ...context.blocks, cordoned: event.cordoned }),
        wanted: true,
      }),
    },
    'claim.wanted': { actions: assign({ wanted: true, news: true }) },
    'claim.free': {
      actions: assign(({ context, event }) => {
        const more = grew(context, event.free);
        return {
          free: event.free,
          // Told once: what comes free later is news again.
          asked: context.open?.rider ? context.asked : [],
          shut: event.shut ?? [],
          staged: event.staged ?? [],
          wanted: context.wanted || more,
          news: context.news || more,
        };
      }),
    },
    'claim.resident': {
      actions: [assign({ resident: ({ event }) => event.resident }), block({ unscanned: false })],
    },
    // Of a ride that is over already.
    'ride.lost': {},
    'ride.answered': {},
    'ride.ask': {
      actions: {
        type: 'tell',
        params: ({ event }) => ({ to: event.run, event: { type: 'ride.offer', offer: null } }),
      },
    },
  },
  initial: 'resting',
  states: {
    resting: {
      always: [
        { guard: 'mayRepeat', target: 'claiming' },
        { guard: 'mayClaim', target: 'claiming', actions: openClaim },
      ],
      on: {
        'ride.ask': {
          guard: 'mayRide',
          target: 'riding',
          actions: [
            openRide,
            {
              type: 'tell',
              params: ({ event, context }) => ({
                to: event.run,
                event: { type: 'ride.offer', offer: context.open?.offer ?? null },
              }),
            },
          ],
        },
      },
    },
    claiming: {
      invoke: {
        id: 'claim',
        src: 'claim',
        input: ({ context }) => ({
          offer: (context.open as OpenClaim).offer,
          deadlineMs: context.settings.deadlineMs,
        }),
        onDone: [
          {
            guard: ({ event }) => event.output.kind === 'closed',
            target: 'pausing',
            actions: assign(({ context, event }) => settled(context, event.output)),
          },
          {
            target: 'resting',
            actions: [
              assign(({ context, event }) => settled(context, event.output)),
              { type: 'act', params: ({ event }) => ({ result: event.output }) },
            ],
          },
        ],
        onError: { target: 'repeating', actions: assign({ tries: ({ context }) => context.tries + 1 }) },
      },
    },
    repeating: {
      on: { 'link.online': { target: 'resting', actions: online } },
      after: { retryMs: 'resting' },
    },
    /** The Broker is closed for a rebuild: not even a wake makes it answer sooner. */
    pausing: { after: { retryMs: 'resting' } },
    riding: {
      on: {
        'ride.answered': {
          guard: 'ownRide',
          target: 'resting',
          actions: [
            assign(({ context, event }) => settled(context, event.result)),
            { type: 'act', params: ({ event }) => ({ result: event.result }) },
          ],
        },
        'ride.lost': {
          guard: 'ownRide',
          target: 'resting',
          actions: assign({
            open: ({ context }) => (context.open === null ? null : { ...context.open, rider: null }),
          }),
        },
      },
    },
  },
  options: chartOptions,
});
