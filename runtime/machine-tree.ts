import PQueue from 'p-queue';
import type { AnyStateMachine } from 'xstate';
import { ClaimNumbers, claimActors } from '#actors/claim.ts';
import { connectorActors } from '#actors/connector.ts';
import { DeadLetters, deadLetterActors } from '#actors/dead-letters.ts';
import { gpuActors } from '#actors/gpu.ts';
import { jobRunActors } from '#actors/job-run.ts';
import { leaseActors } from '#actors/lease.ts';
import { type Identity, linkActors } from '#actors/link.ts';
import { LinkClient } from '#actors/link-client.ts';
import { modelCacheActors, modelFetchActors } from '#actors/model-fetch.ts';
import { reporterActors } from '#actors/reporter.ts';
import { supervisorActors } from '#actors/supervisor.ts';
import { claimerChart } from '#machines/claimer.ts';
import { commandInboxChart } from '#machines/command-inbox.ts';
import { connectorChart } from '#machines/connector.ts';
import { gpuChart } from '#machines/gpu.ts';
import { jobRunChart } from '#machines/job-run.ts';
import { leaseChart } from '#machines/lease.ts';
import { linkChart } from '#machines/link.ts';
import { modelCacheChart } from '#machines/model-cache.ts';
import { modelFetchChart } from '#machines/model-fetch.ts';
import { layOutSlots } from '#machines/policy/slots.ts';
import { runsChart } from '#machines/runs.ts';
import { type ChildSpec, type SuperviseInput, superviseChart } from '#machines/supervise.ts';
import { type BootResult, supervisorChart } from '#machines/supervisor.ts';
import { missingActors } from '#machines/unprovided.ts';
import type { Connector, ConnectorFactory } from '#protocol/connector.ts';
import type { Disk } from '#protocol/disk.ts';
import type { Env } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { Gpus } from '#protocol/gpus.ts';
import type { Http } from '#protocol/http.ts';
import type { MachineReport } from '#protocol/link.ts';
import type { PeerDialer } from '#protocol/peer.ts';
import type { MachineClass } from '#protocol/requirements.ts';
import type { MachineSettings } from './machine-settings.ts';

export interface MachineOptions {
  config: {
    machineId: string;
    /** WebSocket URLs of hubs, tried in order. */
    hubUrls: string[];
    joinToken: string;
    /** What the machine can do; the versions of services come from their connectors. */
    machineClass: Omit<MachineClass, 'services'>;
    /** Absolute folder for models and runs. */
    dataDir: string;
    budgetBytes: number;
    software: string;
    settings: MachineSettings;
  };
  env: Env;
  ports: { dialer: PeerDialer; disk: Disk; http: Http; gpus: Gpus };
  /** By service. `slots` jobs of it run at once. */
  connectors: Record<string, { factory: ConnectorFactory; slots: number }>;
  /** Figures of the process that only its runtime knows; none in a simulation. */
  vitals?: () => { loopDelayMs: number; rssBytes: number };
}

export type MachineParts = ReturnType<typeof partsOf>;

/** Ports, connectors and book-keeping that all effects share. */
export function partsOf(options: MachineOptions) {
  const { config, env, ports } = options;
  const letters = new DeadLetters({
    monotonic: () => env.clock.monotonic(),
    onLetter: ({ reason, to, event }) => env.log.debug('letter.dead', { reason, to, event }),
  });
  const link = new LinkClient({
    clock: env.clock,
    log: env.log,
    dialer: ports.dialer,
    joinToken: config.joinToken,
    onDeadLetter: ({ reason, detail }) => letters.record({ reason, to: 'link', event: detail.slice(0, 200) }),
  });
  const connectors = new Map<string, Connector>(
    Object.entries(options.connectors).map(([service, { factory }]) => [
      service,
      factory({ env, workDir: `${config.dataDir}/services/${service}` }),
    ]),
  );
  const identity: Identity = { incarnation: null };
  // What waits at the edges of the process, where work is not done in the turn that brings it.
  const gauges = new Map<string, () => number>([
    ['requests', () => link.pending],
    ['sendBufferBytes', () => link.bufferedBytes()],
  ]);
  return {
    gauges,
    letters,
    link,
    connectors,
    identity,
    numbers: new ClaimNumbers(),
    modelsFolder: `${config.dataDir}/models`,
    runsFolder: `${config.dataDir}/runs`,
  };
}

/** Throws with the names of all effects that nobody provided: at run time each would look like an endless retry. */
export function refuseMissing(charts: readonly AnyStateMachine[]): void {
  const missing = charts.flatMap((chart) => missingActors(chart));
  if (missing.length === 0) return;
  throw new EmpError('INTERNAL', { detail: `effects without an implementation: ${missing.join(', ')}` });
}

/** Every chart with its effects. Refuses to start while one is missing. */
export function chartsOf(options: MachineOptions, parts: MachineParts, report: () => MachineReport) {
  const { config, env, ports } = options;
  const { settings } = config;
  const { link, numbers, connectors } = parts;
  const transfer = { env, disk: ports.disk, http: ports.http };
  const services = Object.entries(options.connectors).map(([service, { slots }]) => ({
    service,
    slots,
    version: (connectors.get(service) as Connector).spec.version,
  }));
  const hello = {
    machineId: config.machineId,
    machineClass: { ...config.machineClass, services },
    software: config.software,
  };
  const overflow = (event: string) => parts.letters.record({ reason: 'overflow', to: 'reporter', event });
  const downloads = new PQueue({ concurrency: settings.inputs });
  const uploads = new PQueue({ concurrency: settings.uploads });
  const modelPorts = {
    ...transfer,
    link,
    folder: parts.modelsFolder,
    queue: new PQueue({ concurrency: settings.modelFetches }),
    requestMs: settings.requestMs,
  };
  const { clock, log } = env;
  const provided = {
    link: linkChart.provide({
      actors: linkActors({
        clock,
        client: link,
        identity: parts.identity,
        hello,
        onOverflow: (notice) => overflow(notice.notice),
        gauge: (name, depth) => parts.gauges.set(name, depth),
      }),
    }),
    lease: leaseChart.provide({ actors: leaseActors({ clock, link, numbers, report }) }),
    claimer: claimerChart.provide({ actors: claimActors({ link, numbers }) }),
    jobRun: jobRunChart.provide({
      actors: jobRunActors({
        ...transfer,
        link,
        numbers,
        connectors,
        uploads,
        downloads,
        requestMs: settings.requestMs,
      }),
    }),
    runs: runsChart,
    inbox: commandInboxChart,
    gpu: gpuChart.provide({ actors: gpuActors({ gpus: ports.gpus }) }),
    connector: connectorChart.provide({
      actors: connectorActors({ clock, connectors, stopMs: settings.stopMs }),
    }),
    cache: modelCacheChart.provide({
      actors: modelCacheActors({ disk: ports.disk, folder: parts.modelsFolder, connectors }),
    }),
    modelFetch: modelFetchChart.provide({ actors: modelFetchActors(modelPorts) }),
    supervisor: supervisorChart.provide({
      actors: {
        ...supervisorActors({
          clock,
          log,
          disk: ports.disk,
          gpus: ports.gpus,
          link,
          connectors,
          runsFolder: parts.runsFolder,
          gatherMs: settings.reporter.gatherMs,
          bootMs: settings.bootMs,
          stopMs: settings.stopMs,
        }),
        ...deadLetterActors(parts.letters),
      },
    }),
  };
  refuseMissing(Object.values(provided) as AnyStateMachine[]);
  return {
    ...provided,
    reporter: reporterActors({ clock, link, settings: settings.reporter, onOverflow: overflow }).reporter,
  };
}

/**
 * What runs below the root, for the cards that were found. `isDraining` is asked at each restart: who
 * is new would else claim for a machine that is leaving.
 */
export function treeOf(
  options: MachineOptions,
  parts: MachineParts,
  logic: ReturnType<typeof chartsOf>,
  { devices, isDraining }: BootResult & { isDraining: () => boolean },
): SuperviseInput {
  const { config, env } = options;
  const { settings } = config;
  const policy = settings.supervise;
  const branch = (id: string, strategy: SuperviseInput['strategy'], children: ChildSpec[]): ChildSpec => ({
    id,
    logic: superviseChart,
    restart: 'permanent',
    input: { children, strategy, ...policy, rng: env.rng.fork(id) } satisfies SuperviseInput,
  });
  const child = (id: string, chart: ChildSpec['logic'], input?: ChildSpec['input']): ChildSpec => ({
    id,
    logic: chart,
    restart: 'permanent',
    input,
  });
  const slots = layOutSlots(
    Object.fromEntries(Object.entries(options.connectors).map(([service, entry]) => [service, entry.slots])),
    devices.map((device) => device.uuid),
  );
  const listeners = ['supervisor', 'reporter', 'runs', 'claimer', 'lease'];
  // One of them alone would go on from a state that the others no longer share.
  const core = branch('core', 'all-for-one', [
    child('reporter', logic.reporter),
    child('inbox', logic.inbox),
    child('lease', logic.lease, { settings: settings.lease }),
    child('claimer', logic.claimer, () => ({
      settings: settings.claimer,
      rng: env.rng.fork('claimer'),
      highestRequestId: parts.numbers.highest,
      open: parts.numbers.open,
      draining: isDraining(),
    })),
    child('runs', logic.runs, () => ({
      slots,
      jobRun: logic.jobRun,
      settings: settings.jobRun,
      folder: parts.runsFolder,
      staging: settings.staging,
      draining: isDraining(),
    })),
    child('link', logic.link, {
      hubs: config.hubUrls,
      settings: settings.link,
      rng: env.rng.fork('link'),
      listeners,
    }),
  ]);
  const cacheInput = {
    settings: { ...settings.cache, budgetBytes: config.budgetBytes },
    folder: parts.modelsFolder,
    modelFetch: logic.modelFetch,
    rng: env.rng.fork('cache'),
  };
  return {
    strategy: 'one-for-one',
    ...policy,
    rng: env.rng.fork('tree'),
    children: [
      child('cache', logic.cache, cacheInput),
      branch(
        'gpus',
        'one-for-one',
        devices.map((device) => child(`gpu/${device.uuid}`, logic.gpu, { device, settings: settings.gpu })),
      ),
      branch(
        'connectors',
        'one-for-one',
        Object.keys(options.connectors).map((service) =>
          child(`connector/${service}`, logic.connector, {
            service,
            settings: settings.connector,
            rng: env.rng.fork(service),
          }),
        ),
      ),
      core,
    ],
  };
}
