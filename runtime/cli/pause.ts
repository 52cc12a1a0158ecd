import type { Pause } from '#protocol/records.ts';
import { type CommandContext, connect } from './context.ts';
import { printable } from './output.ts';

export interface PauseOptions {
  reason?: string;
}

/** The parser has checked the kind. */
const named = ([kind = '', name = '']: string[]) => ({ kind: kind as Pause['kind'], name });

/** `emp pause`. */
export async function pause(context: CommandContext, args: string[], options: PauseOptions): Promise<void> {
  const { reason } = options;
  const asked = { ...named(args), ...(reason === undefined ? {} : { reason }) };
  const held = await (await connect(context)).pause(asked, { signal: context.signal });
  context.out.result(held, () => context.out.line(printable(`${held.kind} ${held.name}  held back`)));
}

/** `emp resume`. */
export async function resume(context: CommandContext, args: string[]): Promise<void> {
  const asked = named(args);
  await (await connect(context)).resume(asked, { signal: context.signal });
  context.out.result({ resumed: asked }, () =>
    context.out.line(printable(`${asked.kind} ${asked.name}  goes on`)),
  );
}
