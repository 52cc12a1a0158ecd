import { readFile } from 'node:fs/promises';
import { ScheduleName } from '#protocol/names.ts';
import type { Schedule, ScheduleDefinitionInput } from '#protocol/schedule.ts';
import { type CommandContext, connect } from './context.ts';
import { CliError } from './errors.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

export interface ScheduleOptions {
  cron: string;
  timezone?: string;
  /** File of the job, or `-`. */
  job: string;
  overlap?: 'allow' | 'skip';
  paused?: true;
}

const time = (atMs: number | null) =>
  atMs === null ? '-' : new Date(atMs).toISOString().slice(0, 16).concat('Z');

function lastOf({ last }: Schedule): string {
  if (last === null) return '-';
  return `${time(last.dueAtMs)} ${last.outcome}${last.detail === '' ? '' : `: ${last.detail}`}`;
}

/** `emp schedules`. */
export async function schedules(context: CommandContext): Promise<void> {
  const { out, signal } = context;
  const items = await (await connect(context)).schedules.list({ signal });
  out.result({ items }, () =>
    out.table(
      ['NAME', 'CRON', 'TIMEZONE', 'SERVICE', 'NEXT', 'LAST'],
      items.map((each) => [
        each.name,
        each.cron,
        each.timezone,
        each.job.service,
        each.paused ? 'paused' : time(each.nextAtMs),
        lastOf(each),
      ]),
    ),
  );
}

/** `emp schedules show`. */
export async function show(context: CommandContext, [word = '']: string[]): Promise<void> {
  const name = typed(ScheduleName, word, 'emp schedules');
  const { out, signal } = context;
  const schedule = await (await connect(context)).schedules.get(name, { signal });
  out.result(schedule, () => {
    const { name: kept, cron, timezone, paused } = schedule;
    out.line(printable(`${kept}  ${cron} ${timezone}${paused ? '  paused' : ''}`));
    for (const atMs of schedule.upcomingMs) out.line(`next  ${time(atMs)}`);
    out.line(printable(`last  ${lastOf(schedule)}`));
    if (schedule.lastJobId !== null) out.line(printable(`job   ${schedule.lastJobId}`));
  });
}

/** `emp schedules set`. */
export async function set(
  context: CommandContext,
  [word = '']: string[],
  options: ScheduleOptions,
): Promise<void> {
  const name = typed(ScheduleName, word, 'emp schedules');
  const { out, signal } = context;
  const { cron, timezone, overlap, paused } = options;
  const job = await readJob(context, options.job);
  // The command's own options also hold those of every command.
  const given = Object.entries({ timezone, overlap, paused }).filter(([, value]) => value !== undefined);
  const definition: ScheduleDefinitionInput = { cron, job, ...Object.fromEntries(given) };
  const saved = await (await connect(context)).schedules.put(name, definition, { signal });
  out.result(saved, () =>
    out.line(printable(`${saved.name}  ${saved.paused ? 'paused' : `next ${time(saved.nextAtMs)}`}`)),
  );
}

/** `emp schedules remove`. */
export async function remove(context: CommandContext, [word = '']: string[]): Promise<void> {
  const name = typed(ScheduleName, word, 'emp schedules');
  const { out, signal } = context;
  await (await connect(context)).schedules.remove(name, { signal });
  out.result({ removed: { name } }, () => out.line(printable(`${name}  removed`)));
}

async function readJob(context: CommandContext, file: string): Promise<ScheduleDefinitionInput['job']> {
  const text = file === '-' ? await readAll(context) : await readFile(file, 'utf8').catch(unreadable(file));
  try {
    return JSON.parse(text) as ScheduleDefinitionInput['job'];
  } catch (error) {
    throw new CliError('EMP-USAGE', `${file} is no JSON document: ${String(error)}`, {
      likely: 'it holds a job as POST /v1/jobs takes it, without id',
      try: `echo '{"service":"simulation","payload":{"durationMs":1000}}' > ${file === '-' ? 'job.json' : file}`,
    });
  }
}

async function readAll({ stdin }: CommandContext): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

const unreadable = (file: string) => (error: unknown) => {
  throw new CliError('EMP-USAGE', `${file} cannot be read: ${String(error)}`, {
    likely: 'the path is wrong',
    try: `ls -l ${file}`,
  });
};
