import { CustomerName, PoolName, ServiceName } from '#protocol/names.ts';
import type { Pause } from '#protocol/records.ts';
import { type CommandContext, connect } from './context.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

export interface PauseOptions {
  reason?: string;
}

const forms = { pool: PoolName, service: ServiceName, customer: CustomerName };
const lists = { pool: 'emp machines', service: 'emp machines', customer: 'emp jobs' };

/** The parser has checked the kind. */
function named([word = '', name = '']: string[]) {
  const kind = word as Pause['kind'];
  return { kind, name: typed(forms[kind], name, `${lists[kind]}, which names the ${kind} of each`) };
}

/** `emp pause`. */
export async function pause(context: CommandContext, args: string[], options: PauseOptions): Promise<void> {
  const { reason } = options;
  const asked = { ...named(args), ...(reason === undefined ? {} : { reason }) };
  const { out, signal } = context;
  const { pause: held, warnings } = await (await connect(context)).pauses.put(asked, { signal });
  out.resultWithWarnings(held, warnings, () => out.line(printable(`${held.kind} ${held.name}  held back`)));
}

/** `emp resume`. */
export async function resume(context: CommandContext, args: string[]): Promise<void> {
  const asked = named(args);
  await (await connect(context)).pauses.remove(asked, { signal: context.signal });
  context.out.result({ resumed: asked }, () =>
    context.out.line(printable(`${asked.kind} ${asked.name}  goes on`)),
  );
}
