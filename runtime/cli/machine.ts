import { bootMachine, machineReadyLine, type RunningMachine } from '#runtime/boot-machine.ts';
import { type MachineFlags, readMachineConfig } from '#runtime/machine-config.ts';
import { builtInConnectors } from '#runtime/machine-connectors.ts';
import { type CommandContext, hubAddress } from './context.ts';
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
  const given = {
    machineId: options.id,
    pool: options.pool,
    services: options.services,
    dataDir: options.data,
  };
  const running = await bootMachine(await hubAndToken(context, given));
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
 * The hub to link to where none is configured, and a join token where none is given: whoever reaches a
 * hub on loopback may ask it for one. Of several hubs (`EMP_HUB_URL`) the first that answers gives it,
 * and the token is good at all of them.
 */
async function hubAndToken(
  context: CommandContext,
  given: MachineFlags,
): Promise<{ flags: MachineFlags; variables: NodeJS.ProcessEnv }> {
  const { env, options } = context;
  const listed = options.hub === undefined ? (env['EMP_HUB_URL'] ?? '').split(',') : [];
  const named = listed.map((url) => url.trim()).filter((url) => url !== '');
  const configured = options.hub === undefined && (named.length > 0 || env['EMP_HUB']);
  const urls = named.length > 0 ? named : [(await hubAddress(context)).url];
  const flags = configured ? given : { ...given, hubUrls: urls };
  if (env['EMP_JOIN_TOKEN'] || env['EMP_JOIN_TOKEN_FILE']) return { flags, variables: env };
  const near = urls.flatMap(loopbackHub);
  if (near.length === 0) return { flags, variables: env };
  const withToken = (token: string) => ({ flags, variables: { ...env, EMP_JOIN_TOKEN: token } });
  // What is wrong with the other settings is told before a hub is asked.
  readMachineConfig({ ...withToken('asked for below'), defaultServices: builtInConnectors });
  return withToken(await joinToken(near, context));
}

/** The origin for HTTP of a hub, or of the URL of its link, on this computer; else nothing. */
function loopbackHub(text: string): string[] {
  if (!URL.canParse(text)) return [];
  const { protocol, hostname, host } = new URL(text);
  if (!['127.0.0.1', '[::1]', 'localhost'].includes(hostname)) return [];
  return [`${['https:', 'wss:'].includes(protocol) ? 'https' : 'http'}://${host}`];
}

/** Rejects with the failure of the first hub where none gives a token. */
async function joinToken(urls: readonly string[], { out, signal }: CommandContext): Promise<string> {
  const failures: unknown[] = [];
  const { quietClient } = await import('#runtime/quiet-client.ts');
  for (const url of urls) {
    out.detail(`asking ${url} for a join token`);
    try {
      return (await quietClient(url).joinToken({ signal })).token;
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(error);
    }
  }
  throw failures[0];
}
