import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fleet, freePort, type MachineSpec, shortDrain } from '#runtime/dev.ts';
import { aborted, type CommandContext } from './context.ts';
import { CliError } from './errors.ts';
import { duration } from './format.ts';
import { clearDevHub, writeDevHub } from './state-file.ts';

export interface DevOptions {
  machines: number;
  port: number;
  data?: string;
}

/** The machines of `emp dev`, in turn: together they offer every built-in service in three pools. */
const KINDS: readonly Pick<MachineSpec, 'pool' | 'services'>[] = [
  { pool: 'fast-lane', services: ['image:1', 'simulation:2'] },
  { pool: 'standard', services: ['image:1', 'upscale:1', 'simulation:1'] },
  { pool: 'heavy', services: ['upscale:1', 'simulation:1'] },
];

/** `count` machines with ids of their own, over the kinds in turn. */
export function devMachines(count: number): MachineSpec[] {
  return Array.from({ length: count }, (_, index) => {
    const kind = KINDS[index % KINDS.length] as (typeof KINDS)[number];
    const id = `dev-${kind.pool}-${Math.floor(index / KINDS.length) + 1}`;
    return { ...kind, id, settings: shortDrain };
  });
}

/**
 * `emp dev`: serves until Ctrl-C; its children end with it, however it ends. A machine that ends is
 * told of and no more: machines come and go, and a hub goes on without them.
 */
export async function dev(context: CommandContext, options: DevOptions): Promise<void> {
  const { out, env, signal } = context;
  const startedAtMs = performance.now();
  const scratch = await mkdtemp(join(tmpdir(), 'emp-dev-'));
  let fleet: Fleet | null = null;
  try {
    fleet = await startFleet(context, options, scratch);
    if (!(await writeDevHub(env, { url: fleet.url, pid: process.pid }))) {
      out.note(
        'other commands will not find this hub by themselves: set EMP_STATE_DIR to a folder of your own',
      );
    }
    await announce(context, fleet, performance.now() - startedAtMs);
    for (const machine of fleet.machines) {
      void machine.ended.then(() => {
        if (!signal.aborted)
          out.note(`${machine.failure().message}; the hub goes on, start another with: emp machine`);
      });
    }
    const hubEnded = fleet.hub.ended.then(() => true);
    if ((await Promise.race([hubEnded, aborted(signal)])) === true) {
      throw new CliError('EMP-CHILD-FAILED', fleet.hub.failure().message);
    }
    out.note('stopping');
  } catch (error) {
    // Ctrl-C, also in the middle of the start, is how this command ends well.
    if (!signal.aborted) throw error;
  } finally {
    await clearDevHub(env, process.pid);
    await fleet?.stop();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function startFleet(
  { out, signal }: CommandContext,
  options: DevOptions,
  scratch: string,
): Promise<Fleet> {
  const port = await freePort(options.port);
  if (port !== options.port) out.note(`port ${options.port} is in use; taking a free one`);
  const { registerBuiltInModels } = await import('#runtime/demo/register-models.ts');
  return await Fleet.start({
    hub: { port, dataDir: options.data ?? null },
    machines: devMachines(options.machines),
    machinesDir: options.data === undefined ? scratch : join(options.data, 'machines'),
    prepare: async (client) => void (await registerBuiltInModels(client, { signal })),
    onLog: (process, line) => out.detail(`${process}: ${line}`),
    signal,
  });
}

async function announce({ out, signal }: CommandContext, fleet: Fleet, readyMs: number): Promise<void> {
  const { stores } = await fleet.client.status({ signal });
  const machines = (await fleet.client.machines({ signal })).map((row) => ({
    id: row.machineId,
    pool: row.machineClass.pool,
    services: row.machineClass.services.map(({ service, slots }) => `${service}:${slots}`),
    pid: fleet.machines.find(({ name }) => name === `machine ${row.machineId}`)?.pid ?? null,
  }));
  const ready = {
    kind: 'dev.ready',
    hub: { url: fleet.url, pid: fleet.hub.pid },
    stores,
    machines,
    readyMs: Math.round(readyMs),
  };
  out.result(ready, () => {
    out.line(`${out.style('bold', 'EMP Job Queue')} ready in ${duration(readyMs)}`);
    out.line(`  hub       ${out.style('cyan', fleet.url)}`);
    out.line(
      `  data      ${stores.durable ? `kept in ${stores.dataDir ?? 'the configured stores'}` : 'gone when this ends; --data DIR keeps it'}`,
    );
    for (const machine of machines) out.line(`  machine   ${machine.id}  ${machine.services.join(' ')}`);
    out.line('Try in another terminal:');
    out.line('  emp run simulation --set durationMs=3000 --wait');
    out.line('  emp run upscale --input photo.jpg --download .');
    out.line('Ctrl-C ends it.');
  });
}
