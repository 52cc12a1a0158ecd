import { z } from 'zod';
import { defaultPools, type PoolRange } from '#machines/policy/pool-choice.ts';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { PoolName } from '#protocol/names.ts';

/**
 * Every knob of a hub, read once at start. Each can be given as environment variable: the name in
 * capitals after `EMP_`, e.g. `EMP_LEASE_TTL_MS`. docs/hub.md lists them.
 */

const ms = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const megabyte = 1_048_576;

const loopbackHosts = ['127.0.0.1', '::1', 'localhost'];

export const HubConfig = z.strictObject({
  /** Address to listen on. Only loopback: there are no API keys yet, and whoever reaches the port may do everything. */
  host: z
    .string()
    .default('127.0.0.1')
    .refine(
      (host) => loopbackHosts.includes(host),
      'a hub listens on loopback only (127.0.0.1, ::1 or localhost) because it has no API keys yet; put an authenticating proxy on the same machine in front of it',
    ),
  /** TCP port; 0 = a free one, printed at start. */
  port: count(0, 65_535).default(7_700),
  /** Folder for Records (SQLite) and objects. Empty = a temporary folder that is removed at stop: nothing survives. */
  dataDir: z.string().min(1).nullable().default(null),
  /** Name of this hub in Records and logs; made up when absent. */
  hubId: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
    .nullable()
    .default(null),

  /**
   * How long an incarnation's leases live without a beat. Beaten at a sixth of it.
   * Lower: dead machines noticed sooner; a long pause or slow link loses live runs.
   * Higher: a vanished spot machine blocks its jobs longer.
   */
  leaseTtlMs: ms(500, 3_600_000).default(30_000),
  /**
   * How long a singleton role (sweeper, recorder, reconciler) outlives its hub; renewed at a third of it.
   * Lower: roles move faster after a crash; a stalled hub loses them. Higher: the reverse.
   */
  singletonTtlMs: ms(1_000, 600_000).default(6_000),
  /** How often waiting jobs past their TTL and runs past `maxRunMs` are looked for. */
  sweepEveryMs: ms(100, 600_000).default(5_000),
  /** How often rows that never reached the Broker and cancels without an end are looked for. */
  reconcileEveryMs: ms(100, 3_600_000).default(30_000),
  /** How often events are looked for that other hubs committed; what this hub commits is shown at once. */
  recordEveryMs: ms(100, 600_000).default(10_000),
  /** Age before such a row or cancel is taken: below it a hub may still be at work on it. */
  reconcileGraceMs: ms(0, 3_600_000).default(5_000),

  /** Bound of the first delay after a failed try; doubles with each, with full jitter. */
  retryBaseMs: ms(0, 3_600_000).default(1_000),
  /** Bound of every delay after a failed try. */
  retryLimitMs: ms(0, 86_400_000).default(60_000),
  /** GPU-ms that priority 100 is ahead of 50, and 0 behind it. */
  priorityBoostMs: ms(0, 86_400_000).default(600_000),
  /** How much more urgent a job of another pool must be before a machine takes it. Higher: pools act like walls. */
  spillPenaltyMs: ms(0, 86_400_000).default(15_000),
  /** Bound of the preference for jobs whose model is on the machine. Higher: fewer loads, longer waits for cold jobs. */
  warmBonusLimitMs: ms(0, 86_400_000).default(30_000),
  /** Assumed rate at which a model reaches a machine and its memory, bytes per ms. */
  fetchBytesPerMs: count(1, 1_000_000_000).default(40_000),
  /** Expected run time of a job of a service that this hub knows nothing about. */
  expectedMsDefault: ms(1, 86_400_000).default(30_000),

  /** Jobs that may wait at once; a submit beyond gets QUEUE_FULL. Judged by a count up to a second old. */
  waitingLimit: count(1, 100_000_000).default(1_000_000),
  /** Largest object a client may upload, bytes. */
  uploadLimitBytes: count(1, 64 * 1_024 * megabyte).default(4_096 * megabyte),
  /** Subscribers to events (SSE and WebSocket) at once; each costs a read per batch of events. */
  subscribersLimit: count(1, 100_000).default(1_000),
  /** Machine links at once. */
  linksLimit: count(1, 100_000).default(2_000),
  /** Frames a link may send per second; twice as many in a burst. Beyond: the link is closed. */
  linkFramesPerSecond: count(1, 1_000_000).default(500),
  /** Requests of a link that may be unanswered at once. Beyond: refused with INBOX_FULL. */
  linkRequestsLimit: count(1, 10_000).default(64),
  /** Malformed frames a link may send per minute before it is closed. */
  linkMalformedLimit: count(1, 10_000).default(20),
  /** Bytes that may wait to be sent on a link or to a subscriber. Beyond: it is too slow and is closed. */
  sendBufferLimitBytes: count(65_536, 1_073_741_824).default(4 * megabyte),
  /** How long a subscriber may take nothing before it is dropped; it resumes by `seq`. */
  slowReaderMs: ms(100, 3_600_000).default(30_000),
  /** How long a stop waits for requests and background writes under way. */
  stopLimitMs: ms(0, 600_000).default(5_000),
  /** Pools from the shortest jobs to the longest; `upToMs` bounds the expected run time. */
  pools: z
    .array(z.strictObject({ pool: PoolName, upToMs: z.number().positive() }))
    .min(1)
    .max(64)
    .default(() => defaultPools.map((range): PoolRange => ({ ...range }))),
});
export type HubConfig = z.infer<typeof HubConfig>;
export type HubConfigInput = z.input<typeof HubConfig>;

/** Beats per lease: five may be lost before it ends. */
export const beatMsOf = (config: HubConfig): number => Math.max(50, Math.floor(config.leaseTtlMs / 6));

/** What an unexplained close leaves of a lease, ms: time for a reconnect, less than the full TTL. */
export const closeRestMsOf = (config: HubConfig): number =>
  Math.min(20_000, Math.floor((config.leaseTtlMs * 2) / 3));

const fieldOf = (variable: string) =>
  variable
    .slice('EMP_'.length)
    .toLowerCase()
    .replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * Merges flags over `EMP_…` variables over defaults. Unset and empty variables are ignored, `EMP_…`
 * names that are no knob of the hub too (other processes read them). Throws CONFIG_INVALID with every
 * problem at once.
 */
export function readHubConfig(options: {
  variables: Record<string, string | undefined>;
  flags: Record<string, unknown>;
}): HubConfig {
  const known = HubConfig.shape;
  const input: Record<string, unknown> = {};
  const origin = new Map<string, string>();
  for (const [name, value] of Object.entries(options.variables)) {
    if (!name.startsWith('EMP_') || value === undefined || value === '') continue;
    const field = fieldOf(name);
    if (!Object.hasOwn(known, field) || field === 'pools') continue;
    input[field] = value;
    origin.set(field, name);
  }
  for (const [field, value] of Object.entries(options.flags)) {
    if (value === undefined) continue;
    input[field] = value;
    origin.set(field, field);
  }
  const parsed = HubConfig.safeParse(input);
  if (parsed.success) return parsed.data;
  const errors: FieldError[] = parsed.error.issues.map((issue) => ({
    pointer: `/${issue.path.map(String).join('/')}`,
    detail: `${origin.get(String(issue.path[0])) ?? String(issue.path[0] ?? 'config')}: ${issue.message}`,
  }));
  throw new EmpError('CONFIG_INVALID', {
    detail: `${errors.map((error) => error.detail).join('; ')}. See docs/hub.md`,
    errors,
  });
}
