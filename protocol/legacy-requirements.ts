import { z } from 'zod';
import { GpuName } from './gpu-model.ts';
import { ModelId, RegionName, ServiceName } from './names.ts';
import type { Requirements } from './requirements.ts';

/**
 * The requirements that clients of the former queue send, in ours: docs/requirements.md has the table.
 * Its fields may stand beside ours in one document.
 */

/** Gigabytes as cards are sold by, 10^9 bytes, in MiB: a card of 24 GB has 22 889 MiB and some more. */
const mebibytesOf = (gigabytes: number) => Math.ceil((gigabytes * 1e9) / 1_048_576);

const all = z.literal('all');
const amount = 'this is a number of gigabytes above 0, at most 16000, or all';
const gigabytes = z.union([all, z.number(amount).positive(amount).max(16_000, amount)], amount);
/** Part of a tag `key.value`: a key without dots keeps two of them apart. */
const key = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;
const wordForm = 'has 1 to 31 characters of A-Z a-z 0-9 . _ -, since it becomes part of a tag';
const word = z.string().regex(/^[A-Za-z0-9._-]{1,31}$/, `this ${wordForm}`);
const words = z.array(word).max(16);
const fact = z.union(
  [z.boolean(), word, words],
  `a value is true, false, a word or a list of words; a word ${wordForm}`,
);
const facts = z
  .record(z.string(), z.unknown())
  .refine((each) => Object.keys(each).length <= 16, 'at most 16 requirements');
const cards = z.union(
  [GpuName, z.array(GpuName).min(1).max(16)],
  'this is a model of a card, or a list of them',
);

const numberAdvice =
  'a number asks for at least so much, which tags cannot say: use vramMb, ramMb, diskMb or cpuCores, or a word';

/** What the former fields ask for in ours. */
interface Translation {
  requirements: Requirements;
  tags: Tagged[];
  withoutTags: Tagged[];
  /** Where each of `requirements` was asked for, from the requirements on. */
  from: Map<keyof Requirements, PropertyKey[]>;
}

interface Tagged {
  tag: string;
  path: PropertyKey[];
}

const LegacyFields = z.strictObject({
  service_type: ServiceName.optional(),
  hardware: z
    .strictObject({
      gpu_memory_gb: gigabytes.optional(),
      ram_gb: gigabytes.optional(),
      cpu_cores: z.union([all, z.int().min(1).max(1_024)], 'this is a number of cores, or all').optional(),
    })
    .optional(),
  models: z.array(ModelId).max(32).optional(),
  positive_requirements: facts.optional(),
  negative_requirements: facts.optional(),
  component: word.optional(),
  workflow: word.optional(),
  customer_isolation: z
    .enum(['strict', 'loose', 'none'], 'customer_isolation is strict, loose or none')
    .optional(),
  quality_level: word.optional(),
  timeout_minutes: z
    .number()
    .min(1 / 60, 'a run gets at least a second')
    .max(7 * 1_440, 'a run gets at most 7 days')
    .optional(),
  geographic_region: RegionName.optional(),
  compliance: words.optional(),
});
type LegacyFields = z.infer<typeof LegacyFields>;

type Context = Pick<z.core.$RefinementCtx, 'addIssue'>;

const LegacyRequirements = LegacyFields.transform((legacy, context) => ({
  ...translate(legacy, context),
  serviceType: legacy.service_type ?? null,
  models: legacy.models ?? [],
  maxRunMs: legacy.timeout_minutes === undefined ? null : Math.round(legacy.timeout_minutes * 60_000),
}));

/** The fields of the former queue, for a look at whether a document has any. */
export const legacyFields: readonly string[] = Object.keys(LegacyFields.shape);

function translate(legacy: LegacyFields, context: Context): Translation {
  const made: Translation = { requirements: {}, tags: [], withoutTags: [], from: new Map() };
  const set = <K extends keyof Requirements>(name: K, value: Requirements[K], path: PropertyKey[]) => {
    made.requirements[name] = value;
    made.from.set(name, path);
  };
  const { gpu_memory_gb, ram_gb, cpu_cores } = legacy.hardware ?? {};
  if (typeof gpu_memory_gb === 'number')
    set('vramMb', mebibytesOf(gpu_memory_gb), ['hardware', 'gpu_memory_gb']);
  if (typeof ram_gb === 'number') set('ramMb', mebibytesOf(ram_gb), ['hardware', 'ram_gb']);
  if (typeof cpu_cores === 'number') set('cpuCores', cpu_cores, ['hardware', 'cpu_cores']);
  if (legacy.customer_isolation === 'strict') set('isolation', 'strict', ['customer_isolation']);
  const region = legacy.geographic_region ?? 'all';
  if (region !== 'all') set('region', region, ['geographic_region']);
  for (const field of ['component', 'workflow', 'quality_level'] as const) {
    const value = legacy[field] ?? 'all';
    if (value !== 'all') made.tags.push({ tag: `${field}.${value}`, path: [field] });
  }
  for (const [index, value] of (legacy.compliance ?? []).entries())
    made.tags.push({ tag: `compliance.${value}`, path: ['compliance', index] });
  for (const [name, value] of Object.entries(legacy.positive_requirements ?? {})) {
    const path = ['positive_requirements', name];
    if (name === 'gpu_model') translateCards(value, { context, set, path });
    else if (name === 'region')
      translateRegion(value, { context, set, path, known: made.requirements.region });
    else translateFact({ name, value, path, positive: true }, made, context);
  }
  for (const [name, value] of Object.entries(legacy.negative_requirements ?? {}))
    translateFact({ name, value, path: ['negative_requirements', name], positive: false }, made, context);
  return made;
}

type Setter = <K extends keyof Requirements>(name: K, value: Requirements[K], path: PropertyKey[]) => void;

function translateCards(value: unknown, to: { context: Context; set: Setter; path: PropertyKey[] }): void {
  if (value === 'all') return;
  const named = cards.safeParse(value);
  if (named.success) to.set('gpu', [named.data].flat(), to.path);
  else refuse(to.context, to.path, named.error.issues[0]?.message ?? '');
}

function translateRegion(
  value: unknown,
  to: { context: Context; set: Setter; path: PropertyKey[]; known: string | undefined },
): void {
  if (value === 'all') return;
  const named = RegionName.safeParse(value);
  if (!named.success) return refuse(to.context, to.path, named.error.issues[0]?.message ?? '');
  if (to.known !== undefined && to.known !== named.data)
    return refuse(to.context, to.path, `geographic_region asks for ${to.known}: name one region`);
  to.set('region', named.data, to.path);
}

/** A machine has `key.value` for each value of a key, and `key` alone for one that is true. */
function translateFact(
  { name, value, path, positive }: { name: string; value: unknown; path: PropertyKey[]; positive: boolean },
  made: Translation,
  context: Context,
): void {
  const told = fact.safeParse(value);
  if (!key.test(name))
    return refuse(context, path, 'a key has 1 to 32 characters of A-Z a-z 0-9 _ - and no dot');
  if (!positive && (name === 'gpu_model' || name === 'region'))
    return refuse(
      context,
      path,
      `machines tell it without a tag: name what you want in positive_requirements.${name}`,
    );
  if (typeof value === 'number') return refuse(context, path, numberAdvice);
  if (!told.success) return refuse(context, path, told.error.issues[0]?.message ?? '');
  if (typeof told.data === 'boolean') {
    const list = told.data === positive ? made.tags : made.withoutTags;
    list.push({ tag: name, path });
    return;
  }
  const list = positive ? made.tags : made.withoutTags;
  for (const each of [told.data].flat()) list.push({ tag: `${name}.${each}`, path });
}

function refuse(context: Context, path: PropertyKey[], message: string): void {
  context.addIssue({ code: 'custom', path, message });
}

/** A submission without fields of the former queue, and what became of those it had. */
export interface Translated {
  document: unknown;
  /** Models that the former `models` names, in order. */
  models: { modelId: string; path: PropertyKey[] }[];
  /** Where in the document as it came a requirement of ours, or `tags NAME`, was asked for. */
  origins: ReadonlyMap<string, PropertyKey[]>;
  /** Every wrong place of the former fields, paths from the document on; null if there is none. */
  error: z.ZodError | null;
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Translates the requirements of a submission as it came; a document without former fields is answered as it is. */
export function translateLegacy(document: unknown): Translated {
  const asked = isFields(document) ? document['requirements'] : undefined;
  if (!isFields(document) || !isFields(asked) || !legacyFields.some((name) => Object.hasOwn(asked, name)))
    return { document, models: [], origins: new Map(), error: null };
  const entries = Object.entries(asked);
  const ours = Object.fromEntries(entries.filter(([name]) => !legacyFields.includes(name)));
  const theirs = Object.fromEntries(entries.filter(([name]) => legacyFields.includes(name)));
  const parsed = LegacyRequirements.safeParse(theirs);
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({ ...issue, path: ['requirements', ...issue.path] }));
    const error = new z.ZodError(issues);
    return { document: { ...document, requirements: ours }, models: [], origins: new Map(), error };
  }
  return merge(document, ours, parsed.data);
}

/** What both forms say of one thing must agree; of sizes the larger one counts, tags add up. */
function merge(document: Fields, ours: Fields, theirs: z.infer<typeof LegacyRequirements>): Translated {
  const requirements: Fields = { ...ours };
  const issues: z.core.$ZodIssue[] = [];
  const origins = new Map<string, PropertyKey[]>();
  const at = (path: readonly PropertyKey[]) => ['requirements', ...path];
  const clash = (path: readonly PropertyKey[], message: string) =>
    issues.push({ code: 'custom', path: at(path), message, input: undefined });
  for (const [name, value] of Object.entries(theirs.requirements) as [keyof Requirements, unknown][]) {
    const [own, path] = [ours[name], theirs.from.get(name) ?? []];
    if (typeof own === 'number' && typeof value === 'number' && own >= value) continue;
    if (own !== undefined && typeof own !== 'number' && own !== value) {
      clash(path, `${name} is given, too: say it once`);
      continue;
    }
    requirements[name] = value;
    origins.set(name, at(path));
  }
  for (const list of ['tags', 'withoutTags'] as const) {
    const own = ours[list] ?? [];
    if (theirs[list].length === 0 || !Array.isArray(own)) continue;
    requirements[list] = [...new Set([...own, ...theirs[list].map(({ tag }) => tag)])];
    for (const { tag, path } of theirs[list]) if (!own.includes(tag)) origins.set(`${list} ${tag}`, at(path));
  }
  const { serviceType, maxRunMs } = theirs;
  const { service = serviceType, maxRunMs: ownLimit = maxRunMs } = document;
  if (serviceType !== null && service !== serviceType)
    clash(
      ['service_type'],
      `the job is for the service ${String(service)}: service_type says the same, or is left out`,
    );
  if (maxRunMs !== null && ownLimit !== maxRunMs)
    clash(['timeout_minutes'], 'maxRunMs is given, too: say it once');
  return {
    document: {
      ...document,
      requirements,
      ...(service === null ? {} : { service }),
      ...(ownLimit === null ? {} : { maxRunMs: ownLimit }),
    },
    models: theirs.models.map((modelId, index) => ({ modelId, path: at(['models', index]) })),
    origins,
    error: issues.length === 0 ? null : new z.ZodError(issues),
  };
}
