import type { Bulk, BulkAction, BulkRequestInput } from '#protocol/bulk.ts';
import { type CommandContext, connect } from './context.ts';
import { CliError } from './errors.ts';
import { printable } from './output.ts';

export interface BulkOptions {
  state?: string[];
  service?: string;
  customer?: string;
  pool?: string;
  machine?: string;
  label?: string;
  before?: string;
  after?: string;
  dryRun?: true;
  /** Answer when it has begun, not when it is through. */
  detach?: true;
}

function filterOf(options: BulkOptions): BulkRequestInput['filter'] {
  const { state, service, customer, pool, machine, label, before, after } = options;
  const colon = label?.indexOf(':') ?? -1;
  if (label !== undefined && colon < 1) {
    throw new CliError('EMP-USAGE', `${label} is no label`, {
      likely: 'a label is written key:value',
      try: 'emp bulk cancel --label team:a --dry-run',
    });
  }
  const given = {
    state,
    service,
    customer,
    pool,
    machineId: machine,
    label: label === undefined ? undefined : { key: label.slice(0, colon), value: label.slice(colon + 1) },
    submittedBefore: before,
    submittedAfter: after,
  };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as BulkRequestInput['filter'];
}

const line = ({ id, action, state, matched, done, refused }: Bulk) =>
  printable(`${id}  ${action}  ${state}  ${done} of ${matched} done, ${refused} refused`);

/** `emp bulk cancel` and `emp bulk requeue`. */
export async function begin(
  context: CommandContext,
  action: BulkAction,
  options: BulkOptions,
): Promise<void> {
  const { out, signal } = context;
  const client = await connect(context);
  const dryRun = options.dryRun === true;
  const begun = await client.bulks.start({ action, filter: filterOf(options), dryRun }, { signal });
  if (dryRun) return out.result(begun, () => out.line(`${begun.matched} jobs`));
  const onProgress = (bulk: Bulk) => out.note(line(bulk));
  const bulk = options.detach === true ? begun : await client.bulks.wait(begun.id, { signal, onProgress });
  out.result(bulk, () => out.line(line(bulk)));
}

/** `emp bulk`. */
export async function list(context: CommandContext): Promise<void> {
  const { out, signal } = context;
  const items = await (await connect(context)).bulks.list({ signal });
  out.result({ items }, () =>
    out.table(
      ['ID', 'ACTION', 'STATE', 'MATCHED', 'DONE', 'REFUSED', 'BY', 'BEGUN'],
      items.map((each) => [
        each.id,
        each.action,
        each.state,
        `${each.matched}`,
        `${each.done}`,
        `${each.refused}`,
        each.actor,
        new Date(each.createdAtMs).toISOString().slice(0, 19).concat('Z'),
      ]),
    ),
  );
}

/** `emp bulk abort`. */
export async function abort(context: CommandContext, [id = '']: string[]): Promise<void> {
  const bulk = await (await connect(context)).bulks.abort(id, { signal: context.signal });
  context.out.result(bulk, () => context.out.line(line(bulk)));
}
