import type { RecordedEvent } from '#protocol/records.ts';
import { type CommandContext, connect } from './context.ts';
import { time } from './format.ts';
import { printable } from './output.ts';

export interface EventsOptions {
  follow?: true;
  from?: number;
  type?: string[];
  job?: string;
}

/** Events shown when neither `-f` nor `--from` says where to begin. */
const recentLimit = 50;

/**
 * `emp events`: with `--json` one event a line. Without `-f` it prints what is there and ends;
 * with `-f` it begins now, or behind `--from`.
 */
export async function events(context: CommandContext, options: EventsOptions): Promise<void> {
  const { out, signal } = context;
  const client = await connect(context);
  const filter = {
    ...(options.type === undefined ? {} : { types: options.type }),
    ...(options.job === undefined ? {} : { jobId: options.job }),
  };
  const print = (event: RecordedEvent) => out.result(event, () => out.line(eventLine(event)));
  if (options.follow) {
    const after = options.from ?? (options.job === undefined ? await client.highestSeq({ signal }) : 0);
    const onReconnect = ({ reason }: { reason: string }) => out.note(printable(`${reason}; trying again`));
    for await (const event of client.follow({ ...filter, after, signal, onReconnect })) print(event);
    throw signal.reason;
  }
  const narrowed = options.type !== undefined || options.job !== undefined;
  let after =
    options.from ?? (narrowed ? 0 : Math.max(0, (await client.highestSeq({ signal })) - recentLimit));
  for (;;) {
    const { items } = await client.events({ ...filter, after, limit: 1_000 }, { signal });
    items.forEach(print);
    const last = items.at(-1);
    if (last === undefined || items.length < 1_000) return;
    after = last.seq;
  }
}

function eventLine(event: RecordedEvent): string {
  const about = [event.jobId, event.machineId].filter((id) => id !== null).join(' ');
  return printable(
    `${event.seq}  ${time(event.atMs)}  ${event.type.padEnd(18)} ${about}  ${JSON.stringify(event.data)}`,
  );
}
