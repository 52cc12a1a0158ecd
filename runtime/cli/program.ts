import { Argument, Command, Option } from 'commander';
import { JOB_STATES } from '#runtime/job-states.ts';
import type { ChaosRunOptions } from './chaos.ts';
import type { CommandContext, GlobalOptions } from './context.ts';
import type { DemoOptions } from './demo.ts';
import type { DevOptions } from './dev.ts';
import type { EventsOptions } from './events.ts';
import { benchHelp, hubHelp, machineHelp } from './help.ts';
import type { HubOptions } from './hub.ts';
import type { JobOptions } from './job.ts';
import type { JobsOptions } from './jobs.ts';
import type { MachineOptions } from './machine.ts';
import type { DrainOptions } from './machines.ts';
import type { Streams } from './output.ts';
import { collect, durationMs, list, pair, wholeNumber } from './parse.ts';
import type { PauseOptions } from './pause.ts';
import type { Action } from './program-action.ts';
import { addBulks, addLimits, addSchedules } from './program-standing.ts';
import type { RunOptions } from './run.ts';
import { addSim } from './sim.ts';

/** Runs the work of a command with its context; `main.ts` gives the one that prints and exits. */
export type Runner = (
  options: GlobalOptions,
  work: (context: CommandContext) => Promise<void>,
) => Promise<void>;

/**
 * Every command with its arguments. Only the parser is loaded here: what a command does is imported
 * when it runs, so that `emp --help` answers at once.
 */
export function createProgram(streams: Streams, run: Runner): Command {
  const program = new Command('emp')
    .description('EMP Job Queue: a job queue for AI work on rented machines')
    .version(version, '-V, --version', 'print the version')
    .option('--json', 'print JSON on stdout, and errors as one JSON object on stderr')
    .addOption(
      new Option(
        '--hub <url>',
        'hub to speak to (EMP_HUB; else the one of emp dev, else http://127.0.0.1:7700)',
      ),
    )
    .option('-q, --quiet', 'no remarks on stderr')
    .option('-v, --verbose', 'more remarks on stderr')
    .option('--no-color', 'no colours (also NO_COLOR)')
    .option('--timeout <duration>', 'give up after this time, e.g. 30s, 5m; exit code 6', durationMs)
    .configureOutput({
      writeOut: (text) => void streams.stdout.write(text),
      writeErr: (text) => void streams.stderr.write(text),
      // main.ts prints errors in one form for people and scripts.
      outputError: () => {},
      getOutHelpWidth: () => streams.stdout.columns ?? 100,
      getErrHelpWidth: () => streams.stderr.columns ?? 100,
    })
    .showHelpAfterError(false)
    .exitOverride();
  const action: Action = <T>(
    command: Command,
    work: (context: CommandContext, args: string[], options: T) => Promise<void>,
  ) => {
    command.action(async () => {
      const options = command.optsWithGlobals<GlobalOptions & T>();
      await run(options, (context) => work(context, command.args, options));
    });
  };
  program.commandsGroup('Start here:');
  addServers(program, action);
  program.commandsGroup('Jobs:');
  addJobs(program, action);
  addLooks(program, action);
  program.commandsGroup('Machines and models:');
  addFleet(program, action);
  addLimits(program, action);
  addSchedules(program, action);
  addBulks(program, action);
  program.commandsGroup('Measure:');
  action(
    program
      .command('bench')
      .argument('<name>', 'one of those below')
      .description('measure one figure of docs/benchmarks.md on this machine')
      .addHelpText('after', benchHelp()),
    async (context, args) => (await import('./bench.ts')).bench(context, args[0] ?? ''),
  );
  addChaos(program, action);
  addSim(program, action);
  program.addHelpText(
    'after',
    '\nExit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 hub unreachable, 5 not allowed, 6 timed out, 130 interrupted.\nMore: docs/cli.md\n',
  );
  return program;
}

/** Of the package; a test compares. */
export const version = '0.1.0';

const port = wholeNumber(0, 65_535);

/** For parents that start hub and machine as children: see watch-stdin.ts. */
const watchStdin = () => new Option('--watch-stdin', 'end when stdin ends').hideHelp();

function addServers(program: Command, action: Action): void {
  action(
    program
      .command('demo')
      .description('start a hub and three machines, run real jobs, write pictures to ./out')
      .option('--out <dir>', 'folder for the results', 'out')
      .option('--keep', 'keep hub and machines running afterwards, until Ctrl-C'),
    async (context, _args, options: DemoOptions) => (await import('./demo.ts')).demo(context, options),
  );
  action(
    program
      .command('dev')
      .description('a hub and a few machines on this computer, without any configuration')
      .option('--machines <n>', 'how many machines', wholeNumber(0, 32), 3)
      .option('--port <port>', 'port of the hub; another free one is taken when it is in use', port, 7700)
      .option('--data <dir>', 'keep jobs and files there; without it they end with the command'),
    async (context, _args, options: DevOptions) => (await import('./dev.ts')).dev(context, options),
  );
  action(
    program
      .command('hub')
      .description('run a hub; settings: docs/hub.md')
      .addHelpText('after', hubHelp)
      .option('--listen <host:port>', 'where to listen; loopback only')
      .option('--data <dir>', 'folder of the embedded stores')
      .addOption(watchStdin()),
    async (context, _args, options: HubOptions) => (await import('./hub.ts')).hub(context, options),
  );
  action(
    program
      .command('machine')
      .description('run a machine and link it to a hub; settings: docs/machine.md')
      .addHelpText('after', machineHelp)
      .option('--pool <name>', 'hardware pool it belongs to')
      .option('--id <id>', 'id of this machine; made from the host name when absent')
      .option('--services <names>', 'services it offers, separated by commas', list())
      .option('--data <dir>', 'folder for models and running work')
      .addOption(watchStdin()),
    async (context, _args, options: MachineOptions) =>
      (await import('./machine.ts')).machine(context, options),
  );
}

function addJobs(program: Command, action: Action): void {
  action(
    program
      .command('run')
      .argument('<service>', 'service that does the work, e.g. image, upscale, simulation')
      .description('submit a job')
      .option('-f, --file <file>', 'payload as a JSON file; - reads stdin')
      .option(
        '--set <key=value>',
        'set a field of the payload; dots descend, JSON values count as such (repeatable)',
        collect,
      )
      .option('--input <file>', 'upload a file as an input (repeatable)', collect)
      .option('--priority <0-100>', 'higher goes first', wholeNumber(0, 100))
      .option('--preemptible', 'may be given back for a much more urgent job')
      .option('--pool <name>', 'preferred pool')
      .option('--customer <name>', 'on whose behalf')
      .option(
        '--label <key=value>',
        'label to find it by (repeatable)',
        (text: string, before: [string, string][] | undefined) => [...(before ?? []), pair(text)],
      )
      .option('--id <id>', 'id of the job: the same id and job again changes nothing')
      .option('--max-attempts <n>', 'tries before it is given up', wholeNumber(1, 20))
      .option('--not-before <time>', 'wait until then: a duration such as 1h, or a time')
      .option('--ttl <duration>', 'dead unless a machine has begun it by then', durationMs)
      .option('--max-run <duration>', 'longest that a run of it may take', durationMs)
      .option('--tag <name>', 'only on machines with this tag (repeatable)', collect)
      .option('--without-tag <name>', 'only on machines without it (repeatable)', collect)
      .option('--machine <id>', 'only on this machine')
      .option(
        '--require <key=value>',
        'any other requirement, e.g. vramMb=24000 (repeatable): docs/requirements.md',
        collect,
      )
      .option('--wait', 'wait until it ends; exit code 1 unless it succeeds')
      .option('--download <dir>', 'wait, then fetch its files into this folder')
      .option('--dry-run', 'say where it would run and when, without running it'),
    async (context, args, options: RunOptions) =>
      (await import('./run.ts')).run(context, args[0] ?? '', options),
  );
  action(
    program
      .command('jobs')
      .description('list jobs, newest first')
      .option('--state <states>', `some of ${JOB_STATES.join(', ')}`, list(JOB_STATES))
      .option('--service <name>', 'of this service')
      .option('--customer <name>', 'of this customer')
      .option('--pool <name>', 'of this pool')
      .option('--machine <id>', 'last held by this machine')
      .option('--label <key=value>', 'with this label', pair)
      .option('--since <time>', 'submitted since: a duration such as 1h, or a time')
      .option('--limit <n>', 'at most so many', wholeNumber(1, 1_000), 50)
      .option('--watch', 'go on and show changes'),
    async (context, _args, options: JobsOptions) => (await import('./jobs.ts')).jobs(context, options),
  );
}

function addLooks(program: Command, action: Action): void {
  const job = program.command('job').argument('<id>').description('show one job');
  action(
    job
      .addOption(
        new Option('--timeline', 'every change of its state and every run').conflicts(['payload', 'result']),
      )
      .addOption(new Option('--payload', 'its payload, as JSON').conflicts(['timeline', 'result']))
      .addOption(new Option('--result', 'its result, as JSON')),
    async (context, args, options: JobOptions) =>
      (await import('./job.ts')).job(context, args[0] ?? '', options),
  );
  action(
    job
      .command('explain')
      .argument('<id>')
      .description('why it waits, runs or ended where it did, and what would move it'),
    async (context, args) => (await import('./explain.ts')).explain(context, args[0] ?? ''),
  );
  action(program.command('cancel').argument('<id...>').description('cancel jobs'), async (context, args) =>
    (await import('./cancel.ts')).cancelJobs(context, args),
  );
  action(
    program.command('requeue').argument('<id...>').description('run failed, cancelled or dead jobs again'),
    async (context, args) => (await import('./cancel.ts')).requeueJobs(context, args),
  );
  action(
    program
      .command('events')
      .description('what happened, in order of commit')
      .option('-f, --follow', 'go on as things happen')
      .option(
        '--from <seq>',
        'begin behind this number; 0 is the first one kept',
        wholeNumber(0, Number.MAX_SAFE_INTEGER),
      )
      .option('--type <types>', 'only these, e.g. job.succeeded,machine.joined', list())
      .option('--job <id>', 'only of this job'),
    async (context, _args, options: EventsOptions) => (await import('./events.ts')).events(context, options),
  );
}

function addFleet(program: Command, action: Action): void {
  action(program.command('status').description('the hub, its stores and what waits'), async (context) =>
    (await import('./status.ts')).status(context),
  );
  const machines = program
    .command('machines')
    .description('list machines')
    .option('--all', 'with those that left or were lost long ago');
  action(machines, async (context, _args, options: { all?: true }) =>
    (await import('./machines.ts')).machines(context, options),
  );
  action(
    machines
      .command('show')
      .argument('<id>')
      .description('one machine: what it offers, what it holds and what it runs'),
    async (context, args) => (await import('./machines-show.ts')).show(context, args[0] ?? ''),
  );
  action(
    machines
      .command('token')
      .description('make a token with which a machine may join')
      .option('--ttl <duration>', 'how long it may be used', durationMs),
    async (context, _args, options: { ttl?: number }) =>
      (await import('./machines.ts')).joinToken(context, options),
  );
  action(
    program
      .command('drain')
      .argument('<id>')
      .description('let a machine finish its work and leave')
      .option('--deadline <duration>', 'release what is not done by then', durationMs)
      .option('--reason <text>', 'noted in the log of events'),
    async (context, args, options: DrainOptions) =>
      (await import('./machines.ts')).drain(context, args[0] ?? '', options),
  );
  for (const name of ['cordon', 'uncordon'] as const) {
    const description =
      name === 'cordon' ? 'give a machine no more jobs' : 'give a cordoned machine jobs again';
    action(program.command(name).argument('<id>').description(description), async (context, args) =>
      (await import('./machines.ts')).cordon(context, args[0] ?? '', name === 'cordon'),
    );
  }
  const ofKind = () =>
    new Argument('<kind>', 'pool, service or customer').choices(['pool', 'service', 'customer']);
  action(
    program
      .command('pause')
      .addArgument(ofKind())
      .argument('<name>')
      .description('give nobody work of a pool, service or customer; what runs goes on')
      .option('--reason <text>', 'shown to whoever asks why a job waits'),
    async (context, args, options: PauseOptions) =>
      (await import('./pause.ts')).pause(context, args, options),
  );
  action(
    program
      .command('resume')
      .addArgument(ofKind())
      .argument('<name>')
      .description('give machines work of a pool, service or customer again'),
    async (context, args) => (await import('./pause.ts')).resume(context, args),
  );
  const models = program.command('models').description('list registered models, and where they are');
  action(models, async (context) => (await import('./models.ts')).models(context));
  action(models.command('register').description('register the built-in upscaling models'), async (context) =>
    (await import('./models.ts')).register(context),
  );
}

function addChaos(program: Command, action: Action): void {
  const chaos = program
    .command('chaos')
    .description('make faults under real servers and check what became of every job: docs/faults.md')
    .option('--list', 'the faults, one a line; so does emp chaos alone');
  action(chaos, async (context) => (await import('./chaos.ts')).chaosList(context));
  action(
    chaos
      .command('run')
      .argument('<fault>', 'name of a fault, or all')
      .description('start servers, hubs and machines, submit jobs, make the fault, heal it, check')
      .option('--runs <n>', 'how many runs of each fault', wholeNumber(1, 1_000), 20)
      .option('--jobs <n>', 'jobs of one run', wholeNumber(20, 100_000), 1_000)
      .option('--seed <n>', 'seed of the first run; later ones take the next', wholeNumber(0, 2 ** 31), 1)
      .option('--out <dir>', 'folder for histories and logs', 'out/chaos')
      .option('--fresh', 'a cluster for each run; without it all runs of a fault are made on one', false)
      .option('--resume', 'leave runs that lie in --out already, whole and clean when checked again', false),
    async (context, args, options: ChaosRunOptions) =>
      (await import('./chaos.ts')).chaosRun(context, args[0] ?? '', options),
  );
  action(
    chaos
      .command('check')
      .argument('<file>', 'history.jsonl of a run')
      .description('check a published history again'),
    async (context, args) => (await import('./chaos.ts')).chaosCheck(context, args[0] ?? ''),
  );
  action(
    chaos
      .command('table')
      .argument('<dir>', 'folder of histories, as given to --out')
      .description('check every history below a folder again and print one table of them all'),
    async (context, args) => (await import('./chaos.ts')).chaosTable(context, args[0] ?? ''),
  );
}
