import { z } from 'zod';
import { defaultPools, type PoolRange } from '#machines/policy/pool-choice.ts';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { PoolName } from '#protocol/names.ts';
import { settingProblem } from './setting-problem.ts';

/**
 * Every knob of a hub, read once at start. Each can be given as environment variable: the name in
 * capitals after `EMP_`, e.g. `EMP_LEASE_TTL_MS`. docs/hub.md lists them.
 */

const ms = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const megabyte = 1_048_576;

/** A store's URL may hold a password: messages never repeat it. */
const storeUrl = (protocols: readonly string[], form: string) =>
  z
    .string()
    .refine(
      (text) => URL.canParse(text) && protocols.includes(new URL(text).protocol),
      `has the form ${form}`,
    )
    .nullable()
    .default(null);

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
  /**
   * `REDIS_URL`: the Broker lives in this Redis, which several hubs share. Without it: in memory of this
   * hub. Only from the environment: every user of the computer sees arguments. See docs/redis.md.
   */
  redisUrl: storeUrl(['redis:', 'rediss:'], 'redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT (TLS)'),
  /** `DATABASE_URL`: Records live in this PostgreSQL. Without it: in SQLite in the data folder. See docs/postgres.md. */
  databaseUrl: storeUrl(['postgres:', 'postgresql:'], 'postgresql://USER:PASSWORD@HOST:PORT/DATABASE'),
  /** Keys in Redis are `{prefix:0}:…`: two fleets with two databases may share a server under two prefixes. */
  redisPrefix: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'has 1 to 64 letters, digits, dots, dashes or underscores')
    .default('emp'),
  /** How the Lua is run; `auto` takes functions where the server has them. */
  redisLoader: z.enum(['auto', 'function', 'evalsha']).default('auto'),
  /** Version of the Redis protocol; 2 for proxies that do not know HELLO 3. */
  redisProtocol: z.coerce
    .number()
    .refine((version): version is 2 | 3 => version === 2 || version === 3, 'is 2 or 3')
    .default(3),
  /** Accept a Redis that does not tell its eviction policy. Only where its provider documents that nothing is evicted. */
  redisAllowUnknownEviction: z
    .union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')])
    .default(false),
  /** How long one call to Redis may take before it counts as failed. */
  redisDeadlineMs: ms(100, 60_000).default(5_000),
  /** Connections to PostgreSQL that this hub may hold. */
  databasePoolLimit: count(4, 200).default(10),
  /**
   * How long one statement in PostgreSQL may take. Lower: a connection that the network has forgotten is
   * given up sooner (5 s after this). Higher: long lists pass on a slow server.
   */
  databaseStatementLimitMs: ms(1_000, 600_000).default(15_000),
  /** How long a start waits for Records that do not answer yet, before it ends with RECORDS_UNAVAILABLE. */
  startLimitMs: ms(0, 3_600_000).default(60_000),
  /** Folder for Records (SQLite) and objects. Empty = a temporary folder that is removed at stop: nothing survives. */
  dataDir: z.string().min(1).nullable().default(null),
  /** Name of this hub in Records and logs; made up when absent. */
  hubId: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
    .nullable()
    .default(null),

  /**
   * How long an incarnation's leases live without a beat.
   * Lower: dead machines noticed sooner; a long pause or slow link loses live runs.
   * Higher: a vanished spot machine blocks its jobs longer.
   */
  leaseTtlMs: ms(500, 3_600_000).default(30_000),
  /**
   * Beats of a machine in one lease time. All but one may be lost before the lease ends.
   * Lower: fewer frames and broker calls of a large fleet; work for an idle machine that a wake missed waits longer.
   */
  beatsPerLease: count(3, 60).default(6),
  /**
   * How long a singleton role (sweeper, recorder, reconciler) outlives its hub; renewed at a third of it.
   * Lower: roles move faster after a crash; a stalled hub loses them. Higher: the reverse.
   */
  singletonTtlMs: ms(1_000, 600_000).default(6_000),
  /**
   * Where other hubs on the same stores reach this one, `http://HOST:PORT`. Default: the address that it
   * listens on. Hubs that cannot reach each other work all the same, slower: docs/hub.md, Several hubs.
   */
  advertiseUrl: z
    .string()
    .max(2_048)
    .refine(
      (text) => URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol),
      'has the form http://HOST:PORT',
    )
    .nullable()
    .default(null),
  /**
   * How long a hub counts as running without a word; said at a third of it, to Records and over the
   * links to the others, which end after it. Lower: dead hubs noticed sooner; more writes. Higher: the reverse.
   */
  hubTtlMs: ms(1_000, 600_000).default(15_000),
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
  /**
   * What a ms counts that a pool which has no machines of its own was given nothing, against the pool of the
   * machines that serve it too. Higher: they alternate whatever their jobs' priorities. 0: the own pool's line comes first.
   */
  ageWeight: z.coerce.number().min(0).max(100).default(1),
  /**
   * How much more urgent a waiting job must be than a preemptible run before that is given back, GPU-ms.
   * Lower: urgent jobs start sooner, and more work is done twice.
   */
  preemptMarginMs: ms(0, 86_400_000).default(300_000),
  /** How long such a job waits first: a slot may come free. */
  preemptAfterMs: ms(0, 3_600_000).default(5_000),
  /** Bound of the preference for jobs that could begin sooner. Higher: fewer loads, longer waits for cold jobs. */
  warmBonusLimitMs: ms(0, 86_400_000).default(120_000),
  /** How long the next job of a lane may be left to machines that have its model and are soon free; 0 = never. */
  holdLimitMs: ms(0, 3_600_000).default(60_000),
  /** Assumed rate at which a model reaches a machine and its memory, bytes per ms. */
  fetchBytesPerMs: count(1, 1_000_000_000).default(40_000),
  /** Expected run time of a job of a service that this hub knows nothing about. */
  expectedMsDefault: ms(1, 86_400_000).default(30_000),

  /** How long a job is kept after it ended, with its results. Then its id is free again. */
  retainJobsMs: ms(60_000, 10 * 365 * 86_400_000).default(30 * 86_400_000),
  /** How long events are kept. A reader that comes back later begins with the oldest that are left. */
  retainEventsMs: ms(60_000, 10 * 365 * 86_400_000).default(30 * 86_400_000),
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

/** Time between two beats of a machine, ms. */
export const beatMsOf = ({ leaseTtlMs, beatsPerLease }: HubConfig): number =>
  Math.max(50, Math.floor(leaseTtlMs / beatsPerLease));

/** What an unexplained close leaves of a lease, ms: time for a reconnect, less than the full TTL. */
export const closeRestMsOf = (config: HubConfig): number =>
  Math.min(20_000, Math.floor((config.leaseTtlMs * 2) / 3));

const fieldOf = (variable: string) =>
  variable
    .slice('EMP_'.length)
    .toLowerCase()
    .replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Knobs without an `EMP_…` variable: a list, and those that have the names everybody uses. */
const namedOtherwise = ['pools', 'redisUrl', 'databaseUrl'];

const variableOf = (field: string) =>
  `EMP_${field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/** Every variable that a hub reads by this list. */
export const hubVariables: readonly string[] = [
  ...Object.keys(HubConfig.shape)
    .filter((field) => !namedOtherwise.includes(field))
    .map(variableOf),
  ...['REDIS_URL', 'REDIS_SERVER_URL', 'REDIS_SERVER_TOKEN', 'DATABASE_URL'],
];

/**
 * Where the stores are. `REDIS_SERVER_URL` and `REDIS_SERVER_TOKEN` are the older names of a Redis and
 * its password. Throws CONFIG_INVALID where both names are given and differ.
 */
function storeVariables(
  variables: Record<string, string | undefined>,
): { field: 'redisUrl' | 'databaseUrl'; name: string; value: string }[] {
  const { REDIS_URL: redis, REDIS_SERVER_URL: older, REDIS_SERVER_TOKEN: password } = variables;
  const found: ReturnType<typeof storeVariables> = [];
  if (redis && older && redis !== older) {
    throw new EmpError('CONFIG_INVALID', {
      detail: 'REDIS_URL and REDIS_SERVER_URL name two servers: keep one of them. See docs/hub.md',
    });
  }
  if (redis) found.push({ field: 'redisUrl', name: 'REDIS_URL', value: withPassword(redis, password) });
  else if (older)
    found.push({ field: 'redisUrl', name: 'REDIS_SERVER_URL', value: withPassword(older, password) });
  const database = variables.DATABASE_URL;
  if (database) found.push({ field: 'databaseUrl', name: 'DATABASE_URL', value: database });
  return found;
}

/** A password in the URL itself wins. What is no URL is left to be refused by name. */
function withPassword(text: string, password: string | undefined): string {
  if (!password || !URL.canParse(text)) return text;
  const url = new URL(text);
  if (url.password === '') url.password = encodeURIComponent(password);
  return url.href;
}

/** Rules that hold between knobs. */
function consistent(config: HubConfig): HubConfig {
  if (config.databaseUrl === null) return config;
  const problems: string[] = [];
  if (config.redisUrl === null)
    problems.push(
      'DATABASE_URL is set but REDIS_URL is not: hubs that share records must share a broker, or a job could run on two machines. Set REDIS_URL, or unset both to use the embedded stores',
    );
  if (config.dataDir === null)
    problems.push(
      'DATABASE_URL is set but no data folder is: the files of jobs would be gone with this process while their rows stay. Give --data or EMP_DATA_DIR, the same folder to all hubs',
    );
  if (problems.length === 0) return config;
  throw new EmpError('CONFIG_INVALID', { detail: `${problems.join('; ')}. See docs/hub.md` });
}

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
    if (!Object.hasOwn(known, field) || namedOtherwise.includes(field)) continue;
    input[field] = value;
    origin.set(field, name);
  }
  for (const { field, name, value } of storeVariables(options.variables)) {
    input[field] = value;
    origin.set(field, name);
  }
  for (const [field, value] of Object.entries(options.flags)) {
    if (value === undefined) continue;
    input[field] = value;
    origin.set(field, field);
  }
  const parsed = HubConfig.safeParse(input);
  if (parsed.success) return consistent(parsed.data);
  const errors: FieldError[] = parsed.error.issues.map((issue) => {
    const field = String(issue.path[0] ?? 'config');
    const problem = settingProblem(known[field as keyof typeof known], input[field], issue);
    return {
      pointer: `/${issue.path.map(String).join('/')}`,
      detail: `${origin.get(field) ?? field}: ${problem}`,
    };
  });
  throw new EmpError('CONFIG_INVALID', {
    detail: `${errors.map((error) => error.detail).join('; ')}. See docs/hub.md`,
    errors,
  });
}
