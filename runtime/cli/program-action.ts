import type { Command } from 'commander';
import type { CommandContext } from './context.ts';

/** Gives a command its work. `T` are its own options, as its declaration makes them. */
export type Action = <T>(
  command: Command,
  work: (context: CommandContext, args: string[], options: T) => Promise<void>,
) => void;
