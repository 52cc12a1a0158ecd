import { bootHub, hubReadyLine } from '#runtime/boot-hub.ts';
import { aborted, type CommandContext } from './context.ts';
import { stopSignal } from './watch-stdin.ts';

export interface HubOptions {
  listen?: string;
  data?: string;
  watchStdin?: true;
}

/** `emp hub`: serves until Ctrl-C or SIGTERM, and ends with 0 then, also while it starts. Prints one line when it answers. */
export async function hub(context: CommandContext, options: HubOptions): Promise<void> {
  const { out, env } = context;
  const signal = stopSignal(context.signal, context.stdin, options.watchStdin ?? false);
  // Commands look for a hub at this port; a port of its own comes from --listen or EMP_PORT.
  const listen = options.listen ?? (env['EMP_PORT'] ? undefined : '7700');
  const booting = bootHub({ listen, data: options.data, variables: env, signal });
  const running = await booting.catch((error: unknown) => {
    if (signal.aborted && error === signal.reason) return null;
    throw error;
  });
  if (running === null) return;
  try {
    if (out.json) out.line(hubReadyLine(running));
    else out.line(`hub ${running.hubId} answers at ${running.url}`);
    await aborted(signal);
  } finally {
    await running.stop();
  }
}
