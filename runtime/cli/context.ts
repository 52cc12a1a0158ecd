import type { Readable } from 'node:stream';
import type { HubClient } from '#runtime/client.ts';
import { CliError } from './errors.ts';
import type { Output } from './output.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  json?: true;
  hub?: string;
  quiet?: true;
  verbose?: true;
  color: boolean;
  /** Deadline of the whole command, ms. */
  timeout?: number;
}

/** What a command may use: one object, so that tests run commands in their own process. */
export interface CommandContext {
  out: Output;
  options: GlobalOptions;
  env: NodeJS.ProcessEnv;
  stdin: Readable & { isTTY?: boolean };
  /** Aborts on Ctrl-C (`EMP-INTERRUPTED`), on SIGTERM, and at the deadline (`EMP-WAIT-TIMEOUT`). */
  signal: AbortSignal;
}

/** Where a hub's URL came from, for the error when it does not answer. */
export interface HubAddress {
  url: string;
  origin: '--hub' | 'EMP_HUB' | 'emp dev' | 'default';
}

export const defaultHubUrl = 'http://127.0.0.1:7700';

function hubUrl(text: string, origin: string): string {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Not a URL at all: refused below together with the wrong kinds.
  }
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '') {
    throw new CliError('EMP-USAGE', `${origin} is not the URL of a hub: ${text}`, {
      likely: 'it has the form http://HOST:PORT',
      try: `emp --hub ${defaultHubUrl} …`,
    });
  }
  return url.origin;
}

/** URL of the hub: `--hub`, then `EMP_HUB`, then the hub that `emp dev` of this user runs, then the default. */
export async function hubAddress(context: Pick<CommandContext, 'options' | 'env'>): Promise<HubAddress> {
  if (context.options.hub !== undefined)
    return { url: hubUrl(context.options.hub, '--hub'), origin: '--hub' };
  const fromEnv = context.env['EMP_HUB'];
  if (fromEnv) return { url: hubUrl(fromEnv, 'EMP_HUB'), origin: 'EMP_HUB' };
  const { findDevHub } = await import('./state-file.ts');
  const found = await findDevHub(context.env);
  return found === null ? { url: defaultHubUrl, origin: 'default' } : { url: found, origin: 'emp dev' };
}

/** A client of the hub that this command speaks to. */
export async function connect(context: CommandContext): Promise<HubClient> {
  const [{ quietClient }, address] = await Promise.all([
    import('#runtime/quiet-client.ts'),
    hubAddress(context),
  ]);
  context.out.detail(`hub ${address.url} (${address.origin})`);
  return quietClient(address.url);
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(null);
    signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}
