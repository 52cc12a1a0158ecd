import { bootMachine, machineReadyLine, type RunningMachine } from '#runtime/boot-machine.ts';
import type { MachineFlags } from '#runtime/machine-config.ts';
import { type CommandContext, connect, hubAddress } from './context.ts';
import { CliError } from './errors.ts';
import { duration } from './format.ts';
import { ParentGone, stopSignal } from './watch-stdin.ts';

export interface MachineOptions {
  pool?: string;
  id?: string;
  services?: string[];
  data?: string;
  watchStdin?: true;
}

/** `emp machine`: works until Ctrl-C, SIGTERM or a drain by the hub, gives back what it holds and ends with 0. */
export async function machine(context: CommandContext, options: MachineOptions): Promise<void> {
  const { out } = context;
  const signal = stopSignal(context.signal, context.stdin, options.watchStdin ?? false);
  const where = await hubAndToken(context);
  const running = await bootMachine({
    flags: {
      ...where.flags,
      machineId: options.id,
      pool: options.pool,
      services: options.services,
      dataDir: options.data,
    },
    variables: { ...context.env, ...where.variables },
  });
  const stop = () => {
    const { reason } = signal;
    running.stop(reason instanceof Error ? reason.message : 'asked to stop');
    // Twice ends at once: the hub that would take the work back has lost the same parent.
    if (reason instanceof ParentGone) running.stop(reason.message);
  };
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  running.ready.then(
    (ready) => {
      if (out.json) out.line(machineReadyLine(running, ready));
      else
        out.line(
          `machine ${running.machineId} is ready after ${duration(ready.readyMs)}; health at ${running.healthUrl}`,
        );
    },
    // It ended before it was ready: `stopped` tells how.
    () => undefined,
  );
  await ended(running);
}

/** Exit code 3 of the machine means that a newer process has its id; ours for that is 5, not allowed. */
async function ended(running: RunningMachine): Promise<void> {
  const { code, reason } = await running.stopped;
  if (code === 0) return;
  const superseded = code === 3;
  throw new CliError(
    superseded ? 'EMP-SUPERSEDED' : 'EMP-MACHINE-FAILED',
    `machine ${running.machineId} stopped: ${reason}`,
  );
}

/**
 * The hub to link to, and on loopback a join token, where neither is configured: whoever reaches a hub
 * on loopback may ask it for one.
 */
async function hubAndToken(
  context: CommandContext,
): Promise<{ flags: MachineFlags; variables: NodeJS.ProcessEnv }> {
  const { env, options } = context;
  const configured = options.hub === undefined && (env['EMP_HUB_URL'] || env['EMP_HUB']);
  const flags = configured ? {} : { hubUrls: [(await hubAddress(context)).url] };
  if (env['EMP_JOIN_TOKEN'] || env['EMP_JOIN_TOKEN_FILE'] || env['EMP_HUB_URL'])
    return { flags, variables: {} };
  const { url } = await hubAddress(context);
  if (!['127.0.0.1', '[::1]', 'localhost'].includes(new URL(url).hostname)) return { flags, variables: {} };
  const client = await connect(context);
  return { flags, variables: { EMP_JOIN_TOKEN: (await client.joinToken({ signal: context.signal })).token } };
}
