import { type LimitDefinition, LimitName } from '#protocol/limit.ts';
import { type CommandContext, connect } from './context.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

export interface LimitOptions {
  customer?: string;
  pool?: string;
  model?: string;
  concurrent?: number;
  perMinute?: number;
  waiting?: number;
  reason?: string;
}

const columns = ({ customer, pool, model, concurrent, perMinute, waiting }: LimitDefinition) => [
  customer ?? 'all',
  pool ?? 'all',
  model ?? 'all',
  concurrent === undefined ? '-' : String(concurrent),
  perMinute === undefined ? '-' : String(perMinute),
  waiting === undefined ? '-' : String(waiting),
];

/** `emp limits`. */
export async function limits(context: CommandContext): Promise<void> {
  const { out, signal } = context;
  const items = await (await connect(context)).limits.list({ signal });
  out.result({ items }, () =>
    out.table(
      ['NAME', 'CUSTOMER', 'POOL', 'MODEL', 'AT ONCE', 'A MINUTE', 'MAY WAIT', 'LET IN', 'WAIT', 'REASON'],
      items.map((each) => [
        each.name,
        ...columns(each),
        String(each.admitted),
        each.waitingNow === null ? '-' : each.waitingNow > 10_000 ? '10000+' : String(each.waitingNow),
        each.reason,
      ]),
    ),
  );
}

/** `emp limits set`. */
export async function set(
  context: CommandContext,
  [word = '']: string[],
  options: LimitOptions,
): Promise<void> {
  const name = typed(LimitName, word, 'emp limits');
  const { out, signal } = context;
  const { customer, pool, model, concurrent, perMinute, waiting, reason } = options;
  // The command's own options also hold those of every command.
  const given = Object.entries({ customer, pool, model, concurrent, perMinute, waiting, reason });
  const definition = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  const { limit: saved, warnings } = await (await connect(context)).limits.put(name, definition, { signal });
  out.resultWithWarnings(saved, warnings, () => out.line(printable(`${saved.name}  kept`)));
}

/** `emp limits remove`. */
export async function remove(context: CommandContext, [word = '']: string[]): Promise<void> {
  const name = typed(LimitName, word, 'emp limits');
  const { out, signal } = context;
  await (await connect(context)).limits.remove(name, { signal });
  out.result({ removed: { name } }, () => out.line(printable(`${name}  removed`)));
}
