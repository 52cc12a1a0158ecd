import { type Command, Option } from 'commander';
import { wholeNumber } from './parse.ts';
import type { Action } from './program.ts';
import { type ChaosSimOptions, seedRange } from './sim-chaos.ts';

/**
 * `emp sim run SCENARIO`: each scenario is a command with flags of its own, so that a flag of another
 * one is refused by name.
 */
export function addSim(program: Command, action: Action): void {
  const run = program
    .command('sim')
    .description('play whole installations in virtual time: docs/simulation.md')
    .command('run')
    .description('play one scenario');
  addChaos(run, action);
}

function addChaos(run: Command, action: Action): void {
  const instead = ['seeds', 'seed', 'machineKind', 'machines', 'hubs', 'jobs'];
  const seed = wholeNumber(0, Number.MAX_SAFE_INTEGER);
  action(
    run
      .command('chaos')
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
      .addOption(
        new Option('--broker <kind>', 'where the queue lives').choices(['memory', 'redis']).default('memory'),
      )
      .addOption(
        new Option('--records <kind>', 'where the truth lives')
          .choices(['sqlite', 'postgres'])
          .default('sqlite'),
      )
      .option('--workers <n>', 'threads; as many as there are cores, else', wholeNumber(1, 64))
      .addOption(new Option('--script <file>', 'play this script instead of seeds').conflicts(instead))
      .option('--no-shrink', 'leave failing runs as they are')
      .option('--out <dir>', 'folder for the scripts of failing runs', 'out/sim-chaos'),
    async (context, _args, options: ChaosSimOptions) =>
      (await import('./sim-chaos.ts')).simChaos(context, options),
  );
}
