import { parseArgs } from 'node:util';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { systemClock, systemEnv } from './env.ts';
import { readHubConfig } from './hub-config.ts';
import { processLog } from './log.ts';
import { type RunningHub, startHub } from './start-hub.ts';
import { onStopSignals, stopSignals } from './stop-signals.ts';
import { warnOfUnknown } from './unknown-variables.ts';

/** What `emp hub` and `node runtime/boot-hub.ts` are told. */
export interface BootHubOptions {
  /** `host:port` or a port. */
  listen?: string | undefined;
  /** Folder of the embedded stores. */
  data?: string | undefined;
  variables: Record<string, string | undefined>;
  /** Ends a start that waits; once the hub runs, `stop` ends it. */
  signal?: AbortSignal;
}

/**
 * Reads the configuration and starts a hub of this process. Throws CONFIG_INVALID with every problem at
 * once, or the reason of `signal`.
 */
export async function bootHub(options: BootHubOptions): Promise<RunningHub> {
  const { variables } = options;
  const config = readHubConfig({
    variables,
    flags: { ...listenFlags(options.listen), dataDir: options.data },
  });
  const level = logLevel(variables.EMP_LOG_LEVEL);
  const env = systemEnv(processLog({ level, fields: { process: 'hub' } }));
  warnOfUnknown(variables, env.log);
  const hub = await startHub({ config, env, signal: options.signal });
  if (hub.dataDir === null) {
    env.log.warn('data.temporary', {
      detail: 'no --data folder was given: jobs and files end with this process',
    });
  }
  return hub;
}

/** The one JSON line on stdout that says where the hub answers. */
export function hubReadyLine(hub: RunningHub): string {
  const { url, hubId, dataDir, durable } = hub;
  return JSON.stringify({
    kind: 'hub.ready',
    url,
    hubId,
    dataDir,
    durable,
    pid: process.pid,
  });
}

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

function logLevel(text: string | undefined): (typeof logLevels)[number] {
  if (text === undefined || text === '') return 'info';
  const level = logLevels.find((each) => each === text);
  if (level !== undefined) return level;
  throw new EmpError('CONFIG_INVALID', {
    detail: `EMP_LOG_LEVEL is one of ${logLevels.join(', ')}, not ${JSON.stringify(text)}`,
  });
}

/** `127.0.0.1:7700`, `[::1]:7700`, `localhost` or `7700`. */
export function listenFlags(listen: string | undefined): { host?: string; port?: string } {
  if (listen === undefined) return {};
  const found = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))?(?::(\d+))?$/i.exec(listen);
  if (listen === '' || found === null) {
    throw new EmpError('CONFIG_INVALID', {
      detail: `--listen ${JSON.stringify(listen)} is not host:port, e.g. 127.0.0.1:7700 or [::1]:0`,
    });
  }
  const [, six, name, port] = found;
  const host = six ?? name;
  if (host !== undefined && /^\d+$/.test(host) && port === undefined) return { port: host };
  return { ...(host !== undefined && { host }), ...(port !== undefined && { port }) };
}

/** Runs until SIGINT or SIGTERM; a second signal ends at once. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string' },
      data: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const hub = await bootHub({ listen: values.listen, data: values.data, variables: process.env });
  onStopSignals(
    stopSignals({
      clock: systemClock,
      first: () =>
        void hub.stop().then(
          () => process.exit(0),
          (error: unknown) => fail(error),
        ),
      again: () => process.exit(130),
    }),
  );
  // Whoever reads it may end this process at once.
  const line = values.json ? hubReadyLine(hub) : `hub ${hub.hubId} answers at ${hub.url}`;
  process.stdout.write(`${line}\n`);
}

function fail(error: unknown): never {
  const failure = toEmpError(error);
  process.stderr.write(`emp hub: ${failure.code}: ${failure.message}\n`);
  process.exit(1);
}

if (import.meta.main) main().catch(fail);
