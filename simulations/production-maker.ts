import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { composeMachine } from '#runtime/compose-machine.ts';
import { machineSettings } from '#runtime/machine-settings.ts';
import type { MachineOptions } from '#runtime/machine-tree.ts';
import { simConnector } from './sim-connector.ts';
import type { SimDisk } from './sim-disk.ts';
import { simGpus } from './sim-gpus.ts';
import { SimHttp } from './sim-http.ts';
import { slowDisk } from './sim-slow-disk.ts';
import { type MachineMaker, simBudgetBytes, simDataDir } from './world-machine.ts';

/** The production machine, whole: charts, supervision, cache, runs; only its ports are simulated. */
export const productionMachines: MachineMaker = (options) => {
  const { world, process, machineId, machineClass, disk } = options;
  const { services, ...rest } = machineClass;
  const slots = services[0]?.slots ?? 1;
  const service: { kill: () => void } = { kill: () => {} };
  const machine = composeMachine({
    config: {
      machineId,
      hubUrls: world.hubs.map((hub) => hub.url),
      joinToken: world.joinToken,
      machineClass: rest,
      dataDir: simDataDir,
      budgetBytes: simBudgetBytes,
      software: 'simulation',
      settings: { ...machineSettings, cache: { ...machineSettings.cache, reserveBytes: 100_000 } },
    },
    env: process.env,
    ...portsOf(options, { slots, service, version: services[0]?.version ?? simulationSpec.version }),
  });
  let over = false;
  void machine.stopped.then(({ reason }) => {
    over = true;
    world.trace.note(`${process.name} stopped: ${reason}`);
  });
  const paths = () => machine.inspect.tree().map((actor) => actor.path);
  return {
    get over() {
      return over;
    },
    get serving() {
      return machine.health().ready;
    },
    start: () => machine.start(),
    drain: ({ deadlineMs, ended }) => {
      void machine.stopped.then(ended);
      process.enter(() => machine.drain('the provider takes the machine', deadlineMs));
    },
    orphans: () => orphansOf(paths()),
    depths: () => ({ ...machine.inspect.counters().depths, siblings: largestFamily(paths()) }),
    resident: () => residentOn(disk),
    killService: () => process.enter(() => service.kill()),
    repair: () => {
      // One that is not there yet, or no more, needs none.
      const connector = machine.inspect.tree().find(({ path }) => path === connectorPath);
      if (connector === undefined) return;
      process.enter(() => machine.inspect.send(connector.address, { type: 'connector.reset' }));
    },
  };
};

const connectorPath = `tree/connectors/connector/${simulationSpec.service}`;

/** What makes a folder of the cache a model: it comes with the rename. */
const manifestName = 'manifest.json';

/** Its ports, each as bad as the weather and the seed want it. */
function portsOf(
  { world, process, disk, weather }: Parameters<MachineMaker>[0],
  { slots, service, version }: { slots: number; service: { kill: () => void }; version: string },
): Pick<MachineOptions, 'ports' | 'connectors'> {
  const { clock } = process.env;
  const buggify = world.options.buggify === undefined ? {} : { buggify: world.options.buggify };
  const slow = slowDisk(disk, { clock, callMs: () => weather.diskCallMs, ...buggify });
  const note = (what: string) => world.observe({ kind: 'noted', what });
  let atWork = 0;
  const factory = simConnector(slow, {
    ...buggify,
    version,
    hangs: () => weather.hanging > 0,
    onRun: (change, { jobId, token, models: residents }) => {
      atWork += change === 'began' ? 1 : -1;
      const models = residents.map(({ id }) => id);
      const missing = residents
        .filter(({ dir }) => !disk.holds(`${dir}/${manifestName}`))
        .map(({ id }) => id);
      world.observe({ kind: 'service', process: process.name, change, jobId, token, slots, models, missing });
    },
    onEvict: (modelId) => world.observe({ kind: 'evicted', process: process.name, modelId }),
    onStarted: (kill) => {
      service.kill = () => {
        if (atWork > 0) note('a service was killed under its runs');
        kill();
      };
    },
  });
  const http = new SimHttp({
    objects: world.objects,
    clock,
    rng: world.env.rng.fork(`http of ${process.name}`),
    bytesPerMs: 500,
    latencyMs: 20,
    breakChance: 0.01,
    ...buggify,
    weather: {
      get storeDown() {
        return world.objectsDown > 0;
      },
      get corrupt() {
        return weather.corrupting > 0;
      },
    },
    onCorrupted: () => note('a download was given a wrong byte'),
  });
  const gpus = simGpus({ lost: () => weather.gpuLost > 0, ...buggify });
  return {
    ports: { dialer: world.network.dialer(process), disk: slow, http, gpus },
    connectors: { [simulationSpec.service]: { factory, slots } },
  };
}

/** Models whose folder is complete: the manifest comes with the rename. */
async function residentOn(disk: SimDisk): Promise<string[]> {
  const folder = `${simDataDir}/models`;
  const found: string[] = [];
  for (const { name, kind } of await disk.list(folder)) {
    if (kind === 'folder' && (await disk.fileBytes(`${folder}/${name}/${manifestName}`)) !== null)
      found.push(name);
  }
  return found.filter((name) => !name.startsWith('.'));
}

/** Children of the actor that has most of them. An actor's own id may be `kind/name`. */
function largestFamily(paths: readonly string[]): number {
  const families = new Map<string, number>();
  const alive = new Set(['', ...paths]);
  for (const path of paths) {
    if (path === '') continue;
    const [up1, up2] = [path.split('/').slice(0, -1).join('/'), path.split('/').slice(0, -2).join('/')];
    const parent = alive.has(up1) ? up1 : up2;
    families.set(parent, (families.get(parent) ?? 0) + 1);
  }
  return Math.max(0, ...families.values());
}

/** Living actors whose parent does not live: nobody can stop them. An actor's own id may be `kind/name`. */
export function orphansOf(paths: readonly string[]): string[] {
  const alive = new Set(['', ...paths]);
  const up = (path: string, segments: number) => path.split('/').slice(0, -segments).join('/');
  return paths.filter(
    (path) =>
      path !== '' && !alive.has(up(path, 1)) && (path.split('/').length < 2 || !alive.has(up(path, 2))),
  );
}
