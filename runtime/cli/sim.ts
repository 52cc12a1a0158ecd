import { type Command, Option } from 'commander';
import { loadFactor, policyList, wholeNumber } from './parse.ts';
import type { Action } from './program-action.ts';
import { type ChaosSimOptions, seedRange } from './sim-chaos.ts';
import type { DaySimOptions } from './sim-days.ts';

/**
 * `emp sim run SCENARIO`: chaos is a command with flags of its own, so that a flag of a day is
 * refused by name, and the other way round.
 */
export function addSim(program: Command, action: Action): void {
  const sim = program
    .command('sim')
    .description('play whole installations in virtual time: docs/simulation.md, docs/simulation-days.md');
  // Its help is that of the command which stands for every scenario: `run` has no flags of its own.
  const run = sim
    .command('run')
    .description('play one scenario; emp sim run --help lists its options')
    .helpOption(false)
    .helpCommand(false);
  addDays(run, action);
  addChaos(run, action);
  addLooks(sim, action);
}

/** As commander has them, for the commands below the one that has none. */
const helpFlags = ['-h, --help', 'display help for command'] as const;

const brokerOption = () =>
  new Option('--broker <kind>', 'where the queue lives').choices(['memory', 'redis']).default('memory');
const recordsOption = () =>
  new Option('--records <kind>', 'where the truth lives').choices(['sqlite', 'postgres']).default('sqlite');

/**
 * Every scenario but chaos: one command that takes its name, and stands for every name that is no command
 * of its own; its own name is one that no scenario has. Its flags are not those of `run`: chaos would
 * inherit them.
 */
function addDays(run: Command, action: Action): void {
  const seed = wholeNumber(0, 2 ** 31);
  action(
    run
      .command('SCENARIO', { isDefault: true })
      .helpOption(...helpFlags)
      .configureHelp({ commandUsage: () => 'emp sim run SCENARIO [options]' })
      .addHelpText('after', '\nThe scenario chaos has options of its own: emp sim run chaos --help\n')
      .argument('[scenario]', 'a name of emp sim list, several joined by +, or a JSON file')
      .description('replay a day of jobs on a spot fleet under one policy after the other')
      .addOption(
        new Option('--seeds <a..b>', 'these seeds, each a day of its own')
          .argParser(seedRange)
          .conflicts('seed'),
      )
      .addOption(new Option('--seed <n>', 'this seed alone (1)').argParser(seed))
      .addOption(
        new Option('--policy <a,b>', 'who decides: names of emp sim list, or all')
          .argParser(policyList)
          .default(['emp'], 'emp'),
      )
      .addOption(new Option('--load <x>', 'factor on the number of jobs').argParser(loadFactor).default(1))
      .option(
        '--workload <file>',
        'recorded trace (.csv, .csv.gz) in place of drawn jobs; may stand several times',
        (path: string, before: string[]) => [...before, path],
        [] as string[],
      )
      .addOption(brokerOption())
      .addOption(recordsOption())
      .option('--report <file>', 'write one HTML file with charts')
      .option('--workers <n>', 'threads; as many as there are cores, else', wholeNumber(1, 64)),
    async (context, args, options: DaySimOptions) =>
      (await import('./sim-days.ts')).simDays(context, args[0] ?? null, options),
  );
}

function addLooks(sim: Command, action: Action): void {
  action(sim.command('list').description('scenarios and policies'), async (context) =>
    (await import('./sim-days.ts')).simList(context),
  );
  action(
    sim
      .command('plan')
      .argument('<scenario>', 'as in emp sim run')
      .description('what a day holds before anybody decides anything')
      .option('--seed <n>', 'seed of the day', wholeNumber(0, 2 ** 31), 1)
      .addOption(new Option('--load <x>', 'factor on the number of jobs').argParser(loadFactor).default(1)),
    async (context, args, options: { seed: number; load: number }) =>
      (await import('./sim-days.ts')).simPlan(context, args[0] ?? '', options),
  );
  action(
    sim
      .command('diff')
      .argument('<a>', 'result of emp sim run --json')
      .argument('<b>', 'another one')
      .description('which figures moved from A to B')
      .option('--force', 'compare days that are not the same', false)
      .option('--all', 'also figures that did not move', false),
    async (context, args, options: { force: boolean; all: boolean }) =>
      (await import('./sim-days.ts')).simDiff(context, [args[0] ?? '', args[1] ?? ''], options),
  );
}

function addChaos(run: Command, action: Action): void {
  const instead = ['seeds', 'seed', 'machineKind', 'machines', 'hubs', 'jobs'];
  const seed = wholeNumber(0, Number.MAX_SAFE_INTEGER);
  action(
    run
      .command('chaos')
      .helpOption(...helpFlags)
      .description('hunt for broken invariants under drawn faults, and make what is found smaller')
      .addOption(
        new Option('--seeds <a..b>', 'these seeds, each a run of its own (1..8)')
          .argParser(seedRange)
          .conflicts('seed'),
      )
      .addOption(new Option('--seed <n>', 'this seed alone').argParser(seed))
      .addOption(
        new Option(
          '--machine-kind <kind>',
          'machines that ship, or models of their protocol; two of three seeds the former, else',
        ).choices(['production', 'model']),
      )
      .option('--machines <n>', 'machines of a run (10)', wholeNumber(1, 200))
      .option('--hubs <n>', 'hubs of a run (2)', wholeNumber(1, 8))
      .option('--jobs <n>', 'jobs of a run (300)', wholeNumber(1, 2_000))
      .addOption(brokerOption())
      .addOption(recordsOption())
      .option('--workers <n>', 'threads; as many as there are cores, else', wholeNumber(1, 64))
      .addOption(new Option('--script <file>', 'play this script instead of seeds').conflicts(instead))
      .option('--no-shrink', 'leave failing runs as they are')
      .option('--out <dir>', 'folder for the scripts of failing runs', 'out/sim-chaos'),
    async (context, _args, options: ChaosSimOptions) =>
      (await import('./sim-chaos.ts')).simChaos(context, options),
  );
}
