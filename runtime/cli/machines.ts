import { MachineId } from '#protocol/names.ts';
import type { MachineView } from '#runtime/hub/machines.ts';
import { type CommandContext, connect } from './context.ts';
import { duration } from './format.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

/** `emp machines`. `away`: joined, and linked to no hub that the asked one hears of. */
export async function machines(context: CommandContext, options: { all?: true }): Promise<void> {
  const { out } = context;
  const client = await connect(context);
  const items = await client.machines({ all: options.all ?? false, signal: context.signal });
  out.result({ items }, () =>
    out.table(
      ['ID', 'STATE', 'POOL', 'SERVICES', 'FOR', 'RUNNING', 'MODELS', 'SEEN'],
      items.map((row) => [
        row.machineId,
        stateOf(row),
        row.machineClass.pool,
        row.machineClass.services.map(({ service, slots }) => `${service}:${slots}`).join(','),
        worksFor(row.machineClass),
        String(row.running.length),
        String(row.residency.filter(({ state }) => state === 'resident' || state === 'loaded').length),
        seen(row),
      ]),
    ),
  );
}

/** Its state and flags, e.g. `joined,cordoned`. */
export function stateOf({ state, linked, draining, cordoned }: MachineView): string {
  return [
    state === 'joined' && !linked ? 'away' : state,
    draining ? 'draining' : '',
    cordoned ? 'cordoned' : '',
  ]
    .filter((word) => word !== '')
    .join(',');
}

/** Whose jobs it runs: `all`, or what they must be or ask for, all of it. */
export function worksFor({ customers, reservedFor }: MachineView['machineClass']): string {
  const rules = [
    customers !== undefined && 'strict' in customers ? `dedicated to ${customers.strict}` : '',
    customers !== undefined && 'allow' in customers ? `only ${some(customers.allow)}` : '',
    customers !== undefined && 'deny' in customers ? `all but ${some(customers.deny)}` : '',
    reservedFor === undefined ? '' : `reserved for ${some(reservedFor)}`,
  ].filter((rule) => rule !== '');
  return rules.join(', ') || 'all';
}

const someLimit = 3;

function some(names: readonly string[]): string {
  const rest = names.length - someLimit;
  return `${names.slice(0, someLimit).join(' ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** Of a machine that another hub holds this one knows no better time than one of the last lease. */
export function seen({ linked, seenBy, hubId, lastSeenAtMs }: MachineView): string {
  if (linked && seenBy === 'records') return `by ${hubId ?? 'another hub'}`;
  return `${duration(Date.now() - lastSeenAtMs)} ago`;
}

export interface DrainOptions {
  /** Time until what is not done is released, ms. */
  deadline?: number;
  reason?: string;
}

/** `emp drain`: answers when the order is accepted, not when the machine is empty. */
export async function drain(context: CommandContext, id: string, options: DrainOptions): Promise<void> {
  const machineId = typed(MachineId, id, 'emp machines');
  const client = await connect(context);
  const machine = await client.drain(
    machineId,
    {
      ...(options.deadline === undefined ? {} : { deadlineMs: options.deadline }),
      ...(options.reason === undefined ? {} : { reason: options.reason }),
    },
    { signal: context.signal },
  );
  context.out.result(machine, () => context.out.line(printable(`${machine.machineId}  draining`)));
}

/** `emp cordon` and `emp uncordon`. */
export async function cordon(context: CommandContext, id: string, cordoned: boolean): Promise<void> {
  const machineId = typed(MachineId, id, 'emp machines');
  const client = await connect(context);
  const machine = await client.cordon(machineId, cordoned, { signal: context.signal });
  context.out.result(machine, () =>
    context.out.line(printable(`${machine.machineId}  ${machine.cordoned ? 'cordoned' : 'open'}`)),
  );
}

/** `emp machines token`: the token alone on stdout, for `EMP_JOIN_TOKEN=$(emp machines token)`. */
export async function joinToken(context: CommandContext, options: { ttl?: number }): Promise<void> {
  const client = await connect(context);
  const ttl = options.ttl === undefined ? {} : { ttlMs: options.ttl };
  const answer = await client.joinToken({ ...ttl, signal: context.signal });
  context.out.result(answer, () => context.out.line(printable(answer.token)));
  context.out.note(`valid for ${duration(answer.expiresAtMs - Date.now())}`);
}
