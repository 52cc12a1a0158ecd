import type { Rng } from '#protocol/env.ts';
import type { JobSubmissionInput } from '#protocol/job.ts';
import type { CustomerRule, MachineClass, Requirements } from '#protocol/requirements.ts';
import { canonicalRange } from '#protocol/version-range.ts';
import { lacking } from './check-requirements.ts';
import { pick } from './seeded-rng.ts';
import { stageClass } from './stage-machine.ts';
import type { MachineTraits } from './world-machine.ts';

/** Customers of a chaos run. No rule names dune at first, so that its jobs share their groups. */
export const chaosCustomers = ['amber', 'birch', 'cedar', 'dune'] as const;

const environments = [`sha256:${'a1'.repeat(32)}`, `sha256:${'b2'.repeat(32)}`] as const;
const cards = [['l40s'], ['rtx4090'], ['l40s', 'rtx4090']] as const;
const versions = ['1.0.0', '1.2.5', '2.0.1'] as const;
/** By machine, round and round: the first takes whatever nobody else may, the last changes its mind. */
const rules: readonly (CustomerRule | null)[] = [
  null,
  { strict: 'amber' },
  { deny: ['amber'] },
  { allow: ['birch', 'cedar'] },
  null,
];

/** One machine of a fleet, by its number; `reserved` are the numbers of those that are. */
interface Place {
  index: number;
  reserved?: readonly number[] | undefined;
}

/** The tag that only reserved machines have; half of them take their third of the fleet as well. */
const keptTag = 'kept';
const reservationOf = (index: number): [string, ...string[]] =>
  index % 2 === 0 ? [keptTag] : [keptTag, `third-${index % 3}`];

const isReserved = ({ index, reserved = [] }: Place) => reserved.includes(index);

/** Which machines of a run are reserved: never the first, which takes whatever nobody else may. */
export function drawReserved(rng: Rng, machines: readonly number[]): number[] {
  return machines.filter((index) => rng.next() < 0.2 && index > 0);
}

/** What one machine of a mixed fleet has at each of its starts. */
export function traitsOf({ starts, ...place }: Place & { starts: number }): MachineTraits {
  const { index } = place;
  const lasting = lastingTraits(place);
  const reservation = isReserved(place) ? { reservedFor: reservationOf(index) } : {};
  if (!isFickle(index)) return { ...lasting, ...reservation };
  // Rules come and go with a start, and may shut out whom the same machine took before.
  if (starts % 2 === 1) return lasting;
  const tags = [...lasting.tags, 'again'];
  return { ...lasting, ...reservation, customers: { deny: ['dune'] }, tags };
}

/** What it always has, at each of its starts. */
function lastingTraits(place: Place): MachineTraits & { tags: string[]; vramMb: number } {
  const { index } = place;
  const gpus = cards[index % 4];
  const customers = rules[index % rules.length] ?? null;
  return {
    vramMb: (index % 4) * 8_000,
    tags: [index % 2 === 0 ? 'even' : 'odd', `third-${index % 3}`, ...(isReserved(place) ? [keptTag] : [])],
    region: index % 4 < 2 ? 'eu' : 'us',
    version: versions[index % 3] as string,
    environment: environments[index % 2] as string,
    ...(gpus === undefined ? {} : { gpus: [...gpus] }),
    ...(customers === null ? {} : { customers }),
  };
}

/** A machine that changes its mind does so with every start; all others are what they are. */
const isFickle = (index: number) => index % 5 === 4;

function classOf({ fleet, ...place }: Place & { fleet: 'alike' | 'mixed'; starts: number }): MachineClass {
  if (fleet === 'alike') return stageClass;
  const { version = '1', ...traits } = traitsOf(place);
  return { ...stageClass, ...traits, services: [{ service: 'simulation', version, slots: 2 }] };
}

/** Whether the machine of that number may run the job at each of its starts. */
export function mayRun(
  place: Place & { fleet: 'alike' | 'mixed' },
  { service, customer = 'default', requirements = {} }: JobSubmissionInput,
): boolean {
  const { connectorVersion } = requirements;
  const wanted = {
    service,
    customer,
    requirements: {
      ...requirements,
      ...(connectorVersion === undefined ? {} : { connectorVersion: canonicalRange(connectorVersion) }),
    },
  };
  return [1, 2].every(
    (starts) => lacking(`machine-${place.index + 1}`, classOf({ ...place, starts }), wanted) === null,
  );
}

/** A customer, and the tags to name, with which a job is one that this machine always runs. */
export function drawWelcome(rng: Rng, place: Place): { customer: string; requirements: Requirements } {
  const requirements = isReserved(place) ? { tags: [pick(rng, reservationOf(place.index))] } : {};
  const welcome = chaosCustomers.filter((customer) =>
    mayRun({ ...place, fleet: 'mixed' }, { service: 'simulation', customer, requirements }),
  );
  return { customer: pick(rng, welcome), requirements };
}

const printed: Record<string, string> = { l40s: 'NVIDIA L40S', rtx4090: 'RTX 4090 (24 GB)' };
const ranges: Record<string, readonly string[]> = {
  '1.0.0': ['1', '~1.0', '<=1.1', '1.0.0'],
  '1.2.5': ['^1.2', '>=1.1 <2', '1.2'],
  '2.0.1': ['^2', '>1', '>=2.0.1'],
};

/** Wishes that this machine meets, each drawn or left out by itself, all that it has at most. */
export function drawWishes(
  rng: Rng,
  place: Place,
): Pick<JobSubmissionInput, 'customer'> & { requirements: Requirements } {
  const has = lastingTraits(place);
  const { customer, requirements } = drawWelcome(rng, place);
  const { region, environment, version = '', gpus = [] } = has;
  const isOwn = has.customers !== undefined && 'strict' in has.customers;
  const strange = ['even', 'odd', ...(isFickle(place.index) ? [] : ['again'])].filter(
    (tag) => !has.tags.includes(tag),
  );
  const wishes: Requirements[] = [
    { vramMb: rng.int(0, has.vramMb) },
    { tags: [pick(rng, has.tags)] },
    { withoutTags: [pick(rng, strange)] },
    region ? { region } : {},
    environment === undefined ? {} : { environment },
    gpus.length === 0 ? {} : { gpu: [...gpus.map((card) => printed[card] ?? card), 'H100'] },
    { connectorVersion: pick(rng, ranges[version] ?? ['>=0']) },
    isOwn ? { isolation: 'strict' } : {},
  ];
  const drawn = wishes.filter(() => rng.next() < 0.4);
  return { customer, requirements: Object.assign({}, ...drawn, requirements) as Requirements };
}
