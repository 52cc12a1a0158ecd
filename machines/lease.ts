import { assign, raise, setup } from 'xstate';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type { LinkAnswer, LinkBody } from '#protocol/link.ts';
import { chartOptions } from './chart-options.ts';
import type { LinkStateEvent } from './link.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

/** What a beat says of this machine; the effect adds claim numbers and the report. */
export type Holdings = Pick<LinkBody<'beat'>, 'running' | 'free'>;

/** The answer to a beat with its times on this machine's monotonic clock. */
export interface BeatResult {
  answer: LinkAnswer<'beat'>;
  sentAtMs: number;
  answeredAtMs: number;
}

export interface LeaseSettings {
  /**
   * Stop all work this long before the hub may hand it to others, ms: time to abort what runs. At most
   * a sixth of the lease, one beat: a margin near the lease itself would fence every machine at once.
   */
  fenceMarginMs: number;
}

/** The margin that holds for a lease of this length, ms. */
export function fenceMarginMs(ttlMs: number, settings: LeaseSettings): number {
  return Math.min(settings.fenceMarginMs, Math.floor(ttlMs / 6));
}

type LeaseEvent =
  | LinkStateEvent
  | ({ type: 'lease.holdings' } & Holdings)
  | { type: 'lease.lapsed' }
  | { type: 'lease.acked'; fenceInMs: number };

interface Context extends Holdings {
  settings: LeaseSettings;
  ttlMs: number;
  beatMs: number;
  /** From the last acknowledgement to the self-fence, ms. */
  fenceInMs: number;
  /** Beats in a row to which nothing came back. */
  missed: number;
  linked: boolean;
}

/** Missed beats in a row after which the link is half open: one may be a busy hub. */
const missedLimit = 2;

/**
 * Time from the answer of a beat to the self-fence, ms: (send time − age + TTL − margin) − answer time.
 * The send time counts, because the hub may have taken the beat as soon as it left; of a hub that
 * answered without asking the Broker, `ageMs` is how long before that the Broker last heard of us.
 */
export function fenceInMs(options: {
  ttlMs: number;
  marginMs: number;
  ageMs: number;
  sentAtMs: number;
  answeredAtMs: number;
}): number {
  const { ttlMs, marginMs, ageMs, sentAtMs, answeredAtMs } = options;
  return Math.max(0, ttlMs - marginMs - ageMs - (answeredAtMs - sentAtMs));
}

/** Deadline of one beat, ms: three of them fit between an acknowledgement and the fence. */
export function beatDeadlineMs(ttlMs: number, marginMs: number): number {
  return Math.max(1, Math.floor((ttlMs - marginMs) / 3));
}

const base = setup({
  types: { context: {} as Context, input: {} as { settings: LeaseSettings }, events: {} as LeaseEvent },
  actors: { beat: unprovided<BeatResult, Holdings & { deadlineMs: number }>() },
  actions: {
    tell: safeSend,
    /** Passes on what the hub said about single jobs, if it said anything. */
    heed: ({ system, self }, { answer }: { answer: BeatResult['answer'] }) => {
      if (answer.kind !== 'ok') return;
      const say = (to: string, event: { type: string } & Record<string, unknown>) =>
        safeSend({ system, self }, { to, event });
      if (answer.drop.length > 0)
        say('runs', {
          type: 'runs.drop',
          jobIds: answer.drop,
          reason: 'the hub does not list it as held here',
        });
      for (const jobId of answer.cancel)
        say('runs', { type: 'runs.end', jobId, cause: { kind: 'cancel', reason: 'cancelled by request' } });
      if (answer.work) say('claimer', { type: 'claim.wanted' });
    },
  },
  delays: {
    beatMs: ({ context }) => context.beatMs,
    retryMs: ({ context }) => Math.ceil(context.beatMs / 5),
    fenceInMs: ({ context }) => context.fenceInMs,
  },
});

const acked = (context: Context, { answer, sentAtMs, answeredAtMs }: BeatResult): LeaseEvent => ({
  type: 'lease.acked',
  fenceInMs: fenceInMs({
    ttlMs: context.ttlMs,
    marginMs: fenceMarginMs(context.ttlMs, context.settings),
    ageMs: answer.kind === 'ok' ? (answer.ageMs ?? 0) : 0,
    sentAtMs,
    answeredAtMs,
  }),
});

/** The hub said nothing at all, where an error of its own would show that the link works. */
const unheard = (error: unknown) => ['TIMEOUT', 'LINK_CLOSED'].includes(jobErrorOf(error, 'INTERNAL').code);

/** A socket that is open on this side alone tells nobody: only a new one can say so. */
const renewLink = { type: 'tell' as const, params: { to: 'link', event: { type: 'link.renew' } } };

const setFence = base.assign({ fenceInMs: ({ event }) => (event as { fenceInMs: number }).fenceInMs });
const resumeClaims = { type: 'tell' as const, params: { to: 'claimer', event: { type: 'claim.held' } } };

/**
 * Keeps the one lease of this incarnation. `beating` sends a beat every `beatMs` while the link is up;
 * `fence` counts from the send time of the last acknowledged beat: left in time, or all work is dropped
 * before anyone else can be given it. Silence on an open link asks for a new one. Answers: `lapsed` drops all and goes on, `superseded` ends the
 * machine.
 */
export const leaseChart = base.createMachine({
  id: 'lease',
  context: ({ input }) => ({
    settings: input.settings,
    running: [],
    free: [],
    ttlMs: 1,
    beatMs: 1,
    fenceInMs: 0,
    missed: 0,
    linked: false,
  }),
  type: 'parallel',
  on: {
    'lease.holdings': {
      actions: assign({ running: ({ event }) => event.running, free: ({ event }) => event.free }),
    },
  },
  states: {
    beating: {
      initial: 'silent',
      on: {
        'link.offline': { target: '.silent', actions: assign({ linked: false }) },
        'link.online': {
          target: '.sending',
          actions: assign({
            ttlMs: ({ event }) => event.welcome.leaseTtlMs,
            beatMs: ({ event }) => event.welcome.beatMs,
            missed: 0,
            linked: true,
          }),
        },
      },
      states: {
        silent: {},
        sending: {
          invoke: {
            id: 'beat',
            src: 'beat',
            input: ({ context }) => ({
              running: context.running,
              free: context.free,
              deadlineMs: beatDeadlineMs(context.ttlMs, fenceMarginMs(context.ttlMs, context.settings)),
            }),
            onDone: [
              {
                guard: ({ event }) => event.output.answer.kind === 'superseded',
                target: 'silent',
                actions: {
                  type: 'tell',
                  params: { to: 'supervisor', event: { type: 'machine.superseded' } },
                },
              },
              {
                guard: ({ event }) => event.output.answer.kind === 'lapsed',
                target: 'retrying',
                actions: raise({ type: 'lease.lapsed' }),
              },
              {
                target: 'waiting',
                actions: [
                  { type: 'heed', params: ({ event }) => ({ answer: event.output.answer }) },
                  assign({ missed: 0 }),
                  raise(({ event, context }) => acked(context, event.output)),
                ],
              },
            ],
            onError: [
              {
                guard: ({ context, event }) => unheard(event.error) && context.missed + 1 >= missedLimit,
                target: 'retrying',
                actions: [assign({ missed: 0 }), renewLink],
              },
              {
                target: 'retrying',
                actions: assign({
                  missed: ({ context, event }) => (unheard(event.error) ? context.missed + 1 : 0),
                }),
              },
            ],
          },
        },
        // A claim that was answered `lapsed` asks for a beat at once: only a beat ends the lapse.
        waiting: { on: { 'lease.lapsed': 'sending' }, after: { beatMs: 'sending' } },
        retrying: { after: { retryMs: 'sending' } },
      },
    },
    fence: {
      initial: 'unheld',
      states: {
        unheld: { on: { 'lease.acked': { target: 'held', actions: [setFence, resumeClaims] } } },
        held: {
          on: {
            'lease.acked': { target: 'held', reenter: true, actions: setFence },
            'lease.lapsed': 'fenced',
          },
          after: {
            fenceInMs: [
              // Without a link a new one is being dialled already.
              { guard: ({ context }) => !context.linked, target: 'fenced' },
              { target: 'fenced', actions: renewLink },
            ],
          },
        },
        fenced: {
          entry: [
            { type: 'tell', params: { to: 'claimer', event: { type: 'claim.fenced' } } },
            {
              type: 'tell',
              params: {
                to: 'runs',
                event: { type: 'runs.dropAll', reason: 'the lease of this machine has ended' },
              },
            },
          ],
          on: { 'lease.acked': { target: 'held', actions: [setFence, resumeClaims] } },
        },
      },
    },
  },
  options: chartOptions,
});
