import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { cpuGpus } from '#actors/gpu.ts';
import { composeMachine } from '#runtime/compose-machine.ts';
import { machineSettings } from '#runtime/machine-settings.ts';
import { simConnector } from './sim-connector.ts';
import { SimHttp } from './sim-http.ts';
import { type MachineMaker, simBudgetBytes, simDataDir } from './world-machine.ts';

/** The production machine, whole: charts, supervision, cache, runs; only its ports are simulated. */
export const productionMachines: MachineMaker = ({ world, process, machineId, machineClass, disk }) => {
  const { services, ...rest } = machineClass;
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
    ports: {
      dialer: world.network.dialer(process),
      disk,
      http: new SimHttp({
        objects: world.objects,
        clock: process.env.clock,
        rng: world.env.rng.fork(`http of ${process.name}`),
        bytesPerMs: 500,
        latencyMs: 20,
        breakChance: 0.01,
      }),
      gpus: cpuGpus({ name: 'cpu', memoryMb: 16_000, freeMemoryMb: () => 16_000 }),
    },
    connectors: { [simulationSpec.service]: { factory: simConnector(disk), slots: services[0]?.slots ?? 1 } },
  });
  let over = false;
  void machine.stopped.then(({ reason }) => {
    over = true;
    world.trace.note(`${process.name} stopped: ${reason}`);
  });
  return {
    get over() {
      return over;
    },
    start: () => machine.start(),
    drain: ({ deadlineMs, ended }) => {
      void machine.stopped.then(ended);
      process.enter(() => machine.drain('the provider takes the machine', deadlineMs));
    },
    orphans: () => orphansOf(machine.inspect.tree().map((actor) => actor.path)),
  };
};

/** Living actors whose parent does not live: nobody can stop them. An actor's own id may be `kind/name`. */
export function orphansOf(paths: readonly string[]): string[] {
  const alive = new Set(['', ...paths]);
  const up = (path: string, segments: number) => path.split('/').slice(0, -segments).join('/');
  return paths.filter(
    (path) =>
      path !== '' && !alive.has(up(path, 1)) && (path.split('/').length < 2 || !alive.has(up(path, 2))),
  );
}
