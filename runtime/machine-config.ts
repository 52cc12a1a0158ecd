import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { GpuName } from '#protocol/gpu-model.ts';
import { MachineId, PoolName, RegionName, ServiceName, TagName } from '#protocol/names.ts';
import { CustomerRule, EnvironmentDigest, tagsLimit } from '#protocol/requirements.ts';
import { settingProblem } from './setting-problem.ts';

/**
 * Every knob of a machine, read once at start from flags, then variables, then defaults.
 * docs/machine.md lists them.
 */

const listOf = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** `http://HOST:PORT` of a hub, or the URL of its link itself, as the URL of the link. */
const HubUrl = z.string().transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:', 'ws:', 'wss:'].includes(url.protocol)) {
    context.addIssue({
      code: 'custom',
      message: `${JSON.stringify(text)} is not the URL of a hub; it has the form http://HOST:PORT`,
    });
    return z.NEVER;
  }
  url.protocol = url.protocol.replace('http', 'ws');
  if (url.pathname === '/') url.pathname = '/v1/link';
  return url.href;
});

/** `name` or `name:slots`. */
const Service = z.string().transform((text, context) => {
  const [name = '', count, ...rest] = text.split(':');
  const slots = count === undefined ? null : Number(count);
  const named = ServiceName.safeParse(name);
  if (
    !named.success ||
    rest.length > 0 ||
    (slots !== null && !(Number.isInteger(slots) && slots >= 1 && slots <= 64))
  ) {
    context.addIssue({
      code: 'custom',
      message: `${JSON.stringify(text)} is not a service with slots; it has the form name:slots, slots from 1 to 64`,
    });
    return z.NEVER;
  }
  return { service: name, slots };
});

/** `strict:NAME`, `allow:NAME,NAME` or `deny:NAME,NAME`. */
const Customers = z.string().transform((text, context): CustomerRule => {
  const at = text.indexOf(':');
  const [kind, names] = [text.slice(0, Math.max(at, 0)).trim(), listOf(text.slice(at + 1))];
  const form = { strict: { strict: names[0] }, allow: { allow: names }, deny: { deny: names } }[kind];
  const rule = CustomerRule.safeParse(form);
  if (rule.success && (kind !== 'strict' || names.length === 1)) return rule.data;
  context.addIssue({
    code: 'custom',
    message: `${JSON.stringify(text)} is not a rule about customers; it has the form strict:NAME, allow:NAME,NAME or deny:NAME,NAME`,
  });
  return z.NEVER;
});

const tagList = z.array(TagName).max(tagsLimit, `at most ${tagsLimit} tags`);

const Settings = z.strictObject({
  /** Hubs, tried in order and again from the first. `EMP_HUB_URL`, separated by commas. */
  hubUrls: z.array(HubUrl).min(1, 'name at least one hub: http://HOST:PORT').max(16),
  /** Shows that this machine may join; `emp machines token` makes one. Never an argument: every user of the computer sees those. */
  joinToken: z.string().min(1).max(4_096),
  /** Name of this machine; made from the host name and kept in the data folder when absent. */
  machineId: MachineId.nullable().default(null),
  /** Class of hardware that its jobs prefer. */
  pool: PoolName.default('standard'),
  /** What it offers, with slots: how many jobs of the service run at once. */
  services: z.array(Service).min(1).max(32),
  /** Folder for models, inputs and results of running jobs. */
  dataDir: z.string().min(1).default('.emp/machine'),
  /** Disk that models may use, MiB. Less is used where the disk has less room. */
  diskBudgetMb: whole(1, 16_000_000).default(20_480),
  /** Address of /livez, /startupz and /readyz. A container whose probes come from outside needs 0.0.0.0. */
  healthHost: z.string().min(1).default('127.0.0.1'),
  /** TCP port for them; 0 = a free one, named in the ready line. */
  healthPort: whole(0, 65_535).default(0),
  /** Words that jobs may ask for. */
  tags: tagList.default([]),
  /** It runs only jobs that ask for one of these tags, which it has besides `tags`; all jobs where it is not set. */
  reservedFor: tagList.min(1, 'name at least one tag, or leave it out').nullable().default(null),
  region: RegionName.nullable().default(null),
  /** Models of its cards, as anybody prints them. Needed only where no driver tells: it must not tell others. */
  gpu: z.array(GpuName).max(16).default([]),
  /** Video memory of its smallest card, MiB. Needed only where no driver tells; else less may be offered by it. */
  vramMb: whole(0, 16_000_000).default(0),
  /** Digest of the image or whatever else made its environment. */
  environment: EnvironmentDigest.nullable().default(null),
  /** Whose jobs it runs; everybody's where it is not set. */
  customers: Customers.nullable().default(null),
  /** Time that running jobs get to end after SIGTERM, ms. Keep it 10 s below what the platform grants before it kills. */
  drainMs: whole(0, 86_400_000).default(20_000),
  /** A run without progress for this long fails with JOB_STALLED (at least twice its expected time), ms. */
  stallMs: whole(1_000, 86_400_000).default(120_000),
  /** The next job is claimed and prepared this long before a running one is expected to end, ms; 0 = never.
   *  Hides fetches and the round trip. Longer: the job waits here while another machine may fall idle. */
  stageLeadMs: whole(0, 60_000).default(300),
  /** Video memory that no two jobs may share out, MiB. */
  vramReserveMb: whole(0, 1_000_000).default(512),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** Lets a simulated job kill this process: only for tests of faults. */
  simulationCrash: z.stringbool().default(false),
});
/** Too many in EMP_TAGS alone is told by their own check. */
const haveRoom = (config: z.infer<typeof Settings>) =>
  config.tags.length > tagsLimit || tagsOf(config).length <= tagsLimit;
export const MachineConfig = Settings.refine(haveRoom, {
  path: ['reservedFor'],
  message: `a machine has at most ${tagsLimit} tags, those of EMP_TAGS and these together`,
});
export type MachineConfig = z.infer<typeof MachineConfig>;

/** All tags of a machine, each once: what it is reserved for can be asked for without being told twice. */
export function tagsOf({
  tags,
  reservedFor,
}: Pick<z.infer<typeof Settings>, 'tags' | 'reservedFor'>): string[] {
  return [...new Set([...tags, ...(reservedFor ?? [])])];
}

/** Variables by field, most specific first. */
const VARIABLES: Record<keyof MachineConfig, string[]> = {
  hubUrls: ['EMP_HUB_URL', 'EMP_HUB'],
  joinToken: ['EMP_JOIN_TOKEN'],
  machineId: ['EMP_MACHINE_ID', 'MACHINE_ID'],
  pool: ['EMP_POOL'],
  services: ['EMP_SERVICES', 'CONNECTORS', 'WORKERS'],
  dataDir: ['EMP_DATA_DIR'],
  diskBudgetMb: ['EMP_DISK_BUDGET_MB'],
  healthHost: ['EMP_HEALTH_HOST'],
  healthPort: ['EMP_HEALTH_PORT'],
  tags: ['EMP_TAGS'],
  reservedFor: ['EMP_RESERVED_FOR'],
  region: ['EMP_REGION'],
  gpu: ['EMP_GPU'],
  vramMb: ['EMP_VRAM_MB'],
  environment: ['EMP_ENVIRONMENT'],
  customers: ['EMP_CUSTOMERS'],
  drainMs: ['EMP_DRAIN_MS'],
  stallMs: ['EMP_STALL_MS'],
  stageLeadMs: ['EMP_STAGE_LEAD_MS'],
  vramReserveMb: ['EMP_VRAM_RESERVE_MB'],
  logLevel: ['EMP_LOG_LEVEL'],
  simulationCrash: ['EMP_SIMULATION_CRASH'],
};
/** Every variable that a machine reads by this list; `EMP_JOIN_TOKEN_FILE` besides. */
export const machineVariables: readonly string[] = Object.values(VARIABLES).flat();
const LISTS: (keyof MachineConfig)[] = ['hubUrls', 'services', 'tags', 'reservedFor', 'gpu'];

/** Flags as the command line gives them: lists are lists already. */
export type MachineFlags = Partial<Record<keyof MachineConfig, string | string[] | undefined>>;

interface Sources {
  variables: Record<string, string | undefined>;
  flags: MachineFlags;
  /** Used where neither flag nor variable says which services. */
  defaultServices: readonly string[];
  /** Reads the file of EMP_JOIN_TOKEN_FILE; tests bring their own. */
  readFile?: (path: string) => string;
}

/** Merges flags over variables over defaults. Throws `CONFIG_INVALID` with every problem at once, by name. */
export function readMachineConfig(sources: Sources): MachineConfig {
  const input: Record<string, unknown> = {};
  const origin = new Map<string, string>();
  const problems: FieldError[] = [];
  for (const field of Object.keys(VARIABLES) as (keyof MachineConfig)[]) {
    const found = lookUp(sources, field);
    origin.set(field, found?.origin ?? VARIABLES[field][0] ?? field);
    if (found !== null)
      input[field] =
        LISTS.includes(field) && typeof found.value === 'string' ? listOf(found.value) : found.value;
  }
  input['services'] ??= sources.defaultServices;
  input['joinToken'] ??= tokenFromFile(sources, problems);
  const tokenTold = problems.length > 0;
  const parsed = MachineConfig.safeParse(input);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const field = String(issue.path[0] ?? '');
      if (field === 'joinToken' && tokenTold) continue;
      problems.push({
        pointer: `/${issue.path.join('/')}`,
        detail: `${origin.get(field) ?? field}: ${advice(field, input[field]) ?? problemOf(field, input[field], issue)}`,
      });
    }
  } else if (problems.length === 0) return parsed.data;
  throw new EmpError('CONFIG_INVALID', {
    detail: `this machine cannot start:\n${problems.map((problem) => `  ${problem.detail}`).join('\n')}`,
    errors: problems,
  });
}

const problemOf = (field: string, value: unknown, issue: { code: string; message: string }) =>
  settingProblem(MachineConfig.shape[field as keyof MachineConfig], value, issue);

/** What to do where a value is missing altogether. */
function advice(field: string, value: unknown): string | null {
  if (value !== undefined) return null;
  if (field === 'hubUrls') return 'is not set; name the hub to link to, e.g. http://127.0.0.1:7700';
  if (field === 'joinToken')
    return 'is not set; ask the hub for a join token (emp machines token, or POST /v1/join-tokens) and set this or EMP_JOIN_TOKEN_FILE';
  return null;
}

function lookUp(
  { variables, flags }: Sources,
  field: keyof MachineConfig,
): { value: string | string[]; origin: string } | null {
  const flag = flags[field];
  if (flag !== undefined) return { value: flag, origin: `--${field}` };
  for (const name of VARIABLES[field]) {
    const value = variables[name];
    if (value !== undefined && value !== '') return { value, origin: name };
  }
  return null;
}

function tokenFromFile({ variables, readFile }: Sources, problems: FieldError[]): string | undefined {
  const path = variables['EMP_JOIN_TOKEN_FILE'];
  if (path === undefined || path === '') return undefined;
  try {
    return (readFile ?? ((file) => readFileSync(file, 'utf8')))(path).trim();
  } catch (error) {
    problems.push({
      pointer: '/joinToken',
      detail: `EMP_JOIN_TOKEN_FILE: ${path} cannot be read: ${(error as Error).message}`,
    });
    return undefined;
  }
}
