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

/** A number up to `limit`, or `all`, which asks for nothing. One check: of a union, callers would be told of one half. */
const amount = (what: string, fits: (value: number) => boolean) =>
  z.custom<number | 'all'>(
    (value) => value === 'all' || (typeof value === 'number' && fits(value)),
    `this is ${what}, or all`,
  );
const gigabytes = amount(
  'a number of gigabytes above 0, at most 16000',
  (value) => value > 0 && value <= 16_000,
);
const cores = amount(
  'a number of cores, 1 to 1024',
  (value) => Number.isInteger(value) && value >= 1 && value <= 1_024,
);

const wordForm = 'has 1 to 31 characters of A-Z a-z 0-9 . _ -, since it becomes part of a tag';
const word = z.string().regex(/^[A-Za-z0-9._-]{1,31}$/, `this ${wordForm}`);
const words = z.array(word).max(16);
const Fact = z.union([z.boolean(), word, words]);
const Cards = z.union([z.literal('all'), GpuName, z.array(GpuName).min(1).max(16)]);

/** Part of a tag `key.value`: a key without dots keeps two of them apart. */
const key = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

/** What is wrong with one of the positive or negative requirements, null if it can be translated. */
function factFault(name: string, value: unknown, positive: boolean): string | null {
  if (!key.test(name)) return 'a key has 1 to 32 characters of A-Z a-z 0-9 _ - and no dot';
  if (name === 'gpu_model' || name === 'region') {
    if (!positive)
      return `machines tell it without a tag: name what you want in positive_requirements.${name}`;
    if (name === 'region') return RegionName.safeParse(value).error?.issues[0]?.message ?? null;
    return Cards.safeParse(value).success
      ? null
      : 'this is a model of a card such as RTX 4090, or a list of them';
  }
  if (typeof value === 'number')
    return 'a number asks for at least so much, which tags cannot say: use vramMb, ramMb, diskMb or cpuCores, or a word';
  if (Fact.safeParse(value).success) return null;
  return `a value is true, false, a word or a list of words; a word ${wordForm}`;
}

const facts = (positive: boolean) =>
  z
    .record(z.string(), z.unknown())
    .refine((each) => Object.keys(each).length <= 16, 'at most 16 requirements')
    .superRefine((each, context) => {
      for (const [name, value] of Object.entries(each)) {
        const fault = factFault(name, value, positive);
        if (fault !== null) context.addIssue({ code: 'custom', path: [name], message: fault });
      }
    });

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
      cpu_cores: cores.optional(),
    })
    .optional(),
  models: z.array(ModelId).max(32).optional(),
  positive_requirements: facts(true).optional(),
  negative_requirements: facts(false).optional(),
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

const LegacyRequirements = LegacyFields.superRefine((legacy, context) => {
  const [one, other] = [legacy.geographic_region, legacy.positive_requirements?.['region']];
  const named = [one, other].filter((region) => region !== undefined && region !== 'all');
  if (named.length < 2 || one === other) return;
  const message = `geographic_region asks for ${one}: name one region`;
  context.addIssue({ code: 'custom', path: ['positive_requirements', 'region'], message });
}).transform((legacy) => ({
  ...translate(legacy),
  serviceType: legacy.service_type ?? null,
  models: legacy.models ?? [],
  maxRunMs: legacy.timeout_minutes === undefined ? null : Math.round(legacy.timeout_minutes * 60_000),
}));

/** The fields of the former queue, for a look at whether a document has any. */
export const legacyFields: readonly string[] = Object.keys(LegacyFields.shape);

function translate(legacy: LegacyFields): Translation {
  const made: Translation = { requirements: {}, tags: [], withoutTags: [], from: new Map() };
  const set = <K extends keyof Requirements>(
    name: K,
    value: Requirements[K] | 'all',
    path: PropertyKey[],
  ) => {
    if (value === undefined || value === 'all') return;
    made.requirements[name] = value as Requirements[K];
    made.from.set(name, path);
  };
  const { gpu_memory_gb, ram_gb, cpu_cores } = legacy.hardware ?? {};
  if (typeof gpu_memory_gb === 'number')
    set('vramMb', mebibytesOf(gpu_memory_gb), ['hardware', 'gpu_memory_gb']);
  if (typeof ram_gb === 'number') set('ramMb', mebibytesOf(ram_gb), ['hardware', 'ram_gb']);
  set('cpuCores', cpu_cores, ['hardware', 'cpu_cores']);
  if (legacy.customer_isolation === 'strict') set('isolation', 'strict', ['customer_isolation']);
  set('region', legacy.geographic_region, ['geographic_region']);
  for (const field of ['component', 'workflow', 'quality_level'] as const) {
    const value = legacy[field] ?? 'all';
    if (value !== 'all') made.tags.push({ tag: `${field}.${value}`, path: [field] });
  }
  for (const [index, value] of (legacy.compliance ?? []).entries())
    made.tags.push({ tag: `compliance.${value}`, path: ['compliance', index] });
  const { gpu_model, region, ...positive } = legacy.positive_requirements ?? {};
  const cards = Cards.optional().parse(gpu_model) ?? 'all';
  set('gpu', cards === 'all' ? cards : [cards].flat(), ['positive_requirements', 'gpu_model']);
  set('region', RegionName.optional().parse(region), ['positive_requirements', 'region']);
  translateFacts(made, positive, 'positive_requirements');
  translateFacts(made, legacy.negative_requirements ?? {}, 'negative_requirements');
  return made;
}

/** A machine has `key.value` for each value of a key, and `key` alone for one that is true. */
function translateFacts(
  made: Translation,
  each: Record<string, unknown>,
  field: 'positive_requirements' | 'negative_requirements',
): void {
  const isPositive = field === 'positive_requirements';
  for (const [name, value] of Object.entries(each)) {
    const told = Fact.parse(value);
    const path = [field, name];
    const isWanted = told === false ? !isPositive : isPositive;
    const list = isWanted ? made.tags : made.withoutTags;
    if (typeof told === 'boolean') list.push({ tag: name, path });
    else for (const word of [told].flat()) list.push({ tag: `${name}.${word}`, path });
  }
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
