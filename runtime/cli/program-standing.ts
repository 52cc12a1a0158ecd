import { type Command, Option } from 'commander';
import type { BulkOptions } from './bulk.ts';
import type { LimitOptions } from './limits.ts';
import { wholeNumber } from './parse.ts';
import type { Action } from './program-action.ts';
import type { ScheduleOptions } from './schedules.ts';

/** The commands about many jobs: what comes again and again, what is kept back, what is done to all of them. */

export function addLimits(program: Command, action: Action): void {
  const list = program.command('limits').description('list how much of what may be under way');
  action(list, async (context) => (await import('./limits.ts')).limits(context));
  action(
    list
      .command('set')
      .argument('<name>')
      .description('keep a limit, or change the one of this name')
      .option('--customer <name>', "of this customer; '*' is every customer, each on its own")
      .option('--pool <name>', 'of this pool')
      .option('--model <id>', 'with this base model')
      .option('--concurrent <n>', 'jobs at once; 0 = none is begun', wholeNumber(0, 1_000_000))
      .option('--per-minute <n>', 'jobs let in per minute', wholeNumber(1, 600_000))
      .option('--waiting <n>', 'jobs accepted and not begun; beyond is refused', wholeNumber(0, 1_000_000))
      .option('--reason <text>', 'shown to whoever asks why a job waits'),
    async (context, args, options: LimitOptions) => (await import('./limits.ts')).set(context, args, options),
  );
  action(
    list.command('remove').argument('<name>').description('what it held is let in'),
    async (context, args) => (await import('./limits.ts')).remove(context, args),
  );
}

export function addBulks(program: Command, action: Action): void {
  const list = program.command('bulk').description('what is done to many jobs at once');
  action(list, async (context) => (await import('./bulk.ts')).list(context));
  for (const [verb, what] of [
    ['cancel', 'cancel all jobs that meet a filter now'],
    ['requeue', 'give failed, cancelled and dead jobs that meet a filter now another life'],
  ] as const) {
    action(
      list
        .command(verb)
        .description(what)
        .option('--state <a,b>', 'in these states', (text) => text.split(','))
        .option('--service <name>')
        .option('--customer <name>')
        .option('--pool <name>')
        .option('--machine <id>', 'that this machine ran last')
        .option('--label <key:value>')
        .option('--before <time>', 'submitted before, RFC 3339')
        .option('--after <time>', 'submitted after, RFC 3339')
        .option('--dry-run', 'only say how many')
        .option('--detach', 'do not wait until it is through'),
      async (context, _, options: BulkOptions) => (await import('./bulk.ts')).begin(context, verb, options),
    );
  }
  action(
    list.command('abort').argument('<id>').description('what was done stays done'),
    async (context, args) => (await import('./bulk.ts')).abort(context, args),
  );
}

export function addSchedules(program: Command, action: Action): void {
  const list = program.command('schedules').description('list the jobs that come again and again');
  action(list, async (context) => (await import('./schedules.ts')).schedules(context));
  action(
    list
      .command('set')
      .argument('<name>')
      .description('keep a schedule, or change the one of this name')
      .requiredOption('--cron <pattern>', 'minute, hour, day, month, weekday; or @hourly, @daily, …')
      .requiredOption('-j, --job <file>', 'the job as JSON, as for POST /v1/jobs without id; - reads stdin')
      .option('--timezone <name>', 'whose clock the pattern means (UTC)')
      .addOption(
        new Option('--overlap <rule>', 'while the job before has not ended (allow)').choices([
          'allow',
          'skip',
        ]),
      )
      .option('--paused', 'keep it, but submit nothing'),
    async (context, args, options: ScheduleOptions) =>
      (await import('./schedules.ts')).set(context, args, options),
  );
  action(
    list.command('show').argument('<name>').description('one schedule, with its next times'),
    async (context, args) => (await import('./schedules.ts')).show(context, args),
  );
  action(
    list.command('remove').argument('<name>').description('what it submitted goes on'),
    async (context, args) => (await import('./schedules.ts')).remove(context, args),
  );
}
