import { type CommandContext, connect } from './context.ts';
import { duration } from './format.ts';
import { printable } from './output.ts';

/** `emp status`. */
export async function status(context: CommandContext): Promise<void> {
  const { out } = context;
  const client = await connect(context);
  const now = await client.status({ signal: context.signal });
  out.result({ url: client.baseUrl, ...now }, () => {
    const { stores, broker, machines } = now;
    const survives = stores.durable
      ? `kept in ${stores.dataDir ?? 'the configured stores'}`
      : 'gone when the hub ends';
    const jobs = Object.entries(now.jobs).filter(([, count]) => count > 0);
    const lines: [string, string][] = [
      ['hub', `${client.baseUrl}, version ${now.version}, up ${duration(Date.now() - now.startedAtMs)}`],
      [
        'stores',
        `records ${stores.records}, broker ${stores.broker}, objects ${stores.objects}; data is ${survives}`,
      ],
      [
        'broker',
        broker === null
          ? 'does not answer'
          : `${broker.open ? 'open' : 'closed, being rebuilt'}: ${broker.waiting} waiting, ${broker.delayed} delayed, ${broker.leased} leased`,
      ],
      ['jobs', jobs.length === 0 ? 'none' : jobs.map(([state, count]) => `${count} ${state}`).join(', ')],
      [
        'machines',
        `${machines.joined} joined (${machines.linked} linked here), ${machines.lost} lost, ${machines.left} left`,
      ],
    ];
    // A hub of a former version does not tell.
    for (const { service, waiting } of now.unserved ?? [])
      lines.push([
        'unserved',
        `${waiting} waiting job${waiting === 1 ? '' : 's'} of ${service} that no joined machine may run: emp job explain ID says what is missing`,
      ]);
    for (const { kind, name, reason, sinceMs } of now.pauses)
      lines.push([
        'held back',
        `${kind} ${name} for ${duration(Date.now() - sinceMs)}${reason && `: ${reason}`}`,
      ]);
    for (const [name, value] of lines) out.line(`${out.style('dim', name.padEnd(9))} ${printable(value)}`);
  });
}
