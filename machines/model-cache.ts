import { assign, type DoneActorEvent, type ErrorActorEvent, setup } from 'xstate';
import {
  type CacheCommand,
  emptyLedger,
  evicted,
  evictFailed,
  fetched,
  fetchFailed,
  fitsBudget,
  found,
  type Ledger,
  type LedgerEntry,
  limited,
  progressed,
  release,
  residencyOf,
  residentModels,
  type Step,
  sized,
  usedBytes,
  want,
} from '#machines/policy/cache-ledger.ts';
import type { EvictionRule } from '#machines/policy/eviction.ts';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type { ResidentModel } from '#protocol/connector.ts';
import type { Rng } from '#protocol/env.ts';
import type { JobError } from '#protocol/job.ts';
import { chartOptions } from './chart-options.ts';
import type { FetchSettings, ModelFetchOutput, modelFetchChart } from './model-fetch.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

export interface CacheSettings {
  fetch: FetchSettings;
  /** Bytes that models may use on this disk. */
  budgetBytes: number;
  /** Bytes of the disk that models never use, so that inputs and results have room. */
  reserveBytes: number;
  /** Between two measurements while the disk has less room than the budget says, ms. */
  remeasureMs: number;
  /** Fetches in motion at once; further wishes wait. Below the limit of siblings. */
  motionsLimit: number;
  /** `value` unless told otherwise. */
  eviction?: EvictionRule;
}

export interface ModelCacheInput {
  settings: CacheSettings;
  /** Folder of all models. */
  folder: string;
  /** The model-fetch chart with its effects. */
  modelFetch: typeof modelFetchChart;
  rng: Rng;
}

type CacheEvent =
  | DoneActorEvent
  | ErrorActorEvent
  | { type: 'models.want'; run: string; jobId: string; service: string; models: string[] }
  | { type: 'models.release'; run: string }
  | { type: 'fetch.sized'; modelId: string; bytes: number }
  | { type: 'fetch.progress'; modelId: string; fraction: number }
  /** The desk of the runs is new and knows of nothing. */
  | { type: 'roll.call' }
  /** A run could not write its inputs. */
  | { type: 'disk.check'; detail: string };

/** Below every version of a ledger: also an empty disk is news to those who know nothing. */
const nothingTold = -1;

interface Context extends ModelCacheInput {
  ledger: Ledger;
  commands: CacheCommand[];
  /** Fetches that wait for one in motion to end. */
  backlog: string[];
  motions: number;
  toldVersion: number;
}

const fetchId = (modelId: string) => `fetch/${modelId}`;
const evictId = (modelId: string) => `evict/${modelId}`;

export interface ScanResult {
  models: { modelId: string; bytes: number }[];
  freeBytes: number;
}

/** Room that models may take: the budget, or what the disk really has. */
export function limitBytes(options: {
  budgetBytes: number;
  reserveBytes: number;
  onDiskBytes: number;
  freeBytes: number;
}): number {
  return Math.max(
    0,
    Math.min(options.budgetBytes, options.onDiskBytes + options.freeBytes - options.reserveBytes),
  );
}

const base = setup({
  types: { context: {} as Context, input: {} as ModelCacheInput, events: {} as CacheEvent },
  actors: {
    scan: unprovided<ScanResult, { folder: string }>(),
    measure: unprovided<{ freeBytes: number }, { folder: string }>(),
    evict: unprovided<void, { modelId: string }>(),
  },
  actions: {
    tell: safeSend,
    /** Tells whoever asked, and everyone who follows residency. */
    answer: ({ context, system, self }) => {
      const say = (to: string, event: { type: string } & Record<string, unknown>) =>
        safeSend({ system, self }, { to, event });
      for (const command of context.commands) {
        if (command.kind === 'ready')
          say(command.run, {
            type: 'models.ready',
            models: command.models.map((id) => resident(context, id)),
          });
        if (command.kind === 'failed')
          say(command.run, { type: 'models.failed', error: command.error, here: command.here ?? false });
        if (command.kind === 'go') say(fetchId(command.modelId), { type: 'fetch.go' });
        if (command.kind === 'refuse')
          say(fetchId(command.modelId), { type: 'fetch.refused', error: command.error });
      }
      const { ledger, toldVersion } = context;
      if (ledger.version === toldVersion) return;
      const news = Object.values(ledger.entries).filter((entry) => entry.version > toldVersion);
      say('reporter', {
        type: 'residency',
        entries: news.map(residencyOf),
        present: Object.keys(ledger.entries),
        version: ledger.version,
      });
      say('claimer', { type: 'claim.resident', resident: residentModels(ledger).slice(0, 500) });
    },
  },
  delays: { remeasureMs: ({ context }) => context.settings.remeasureMs },
});

function resident(context: Context, id: string): ResidentModel {
  return { id, dir: `${context.folder}/${id}`, bytes: (context.ledger.entries[id] as LedgerEntry).bytes };
}

type Spawn = (logic: unknown, options: { id: string; systemId?: string; input: unknown }) => void;

/** Takes a step of the ledger and carries out its commands. */
const apply = <E>(step: (ledger: Ledger, event: E, context: Context) => Step) =>
  base.enqueueActions(({ enqueue, context, event }) => {
    const { ledger, commands } = step(context.ledger, event as E, context);
    enqueue.assign({ ledger, commands });
    const spawn = enqueue.spawnChild as unknown as Spawn;
    const ended =
      event.type.startsWith('xstate.done.actor.fetch/') || event.type.startsWith('xstate.error.actor.fetch/');
    let motions = context.motions - (ended ? 1 : 0);
    const wanted = [
      ...context.backlog,
      ...commands.flatMap((command) => (command.kind === 'fetch' ? [command.modelId] : [])),
    ];
    while (wanted.length > 0 && motions < context.settings.motionsLimit) {
      const modelId = wanted.shift() as string;
      const id = fetchId(modelId);
      spawn(context.modelFetch, {
        id,
        systemId: id,
        input: { modelId, settings: context.settings.fetch, rng: context.rng },
      });
      motions++;
    }
    for (const command of commands)
      if (command.kind === 'evict')
        spawn('evict', { id: evictId(command.modelId), input: { modelId: command.modelId } });
    enqueue.assign({ backlog: wanted, motions });
    enqueue('answer');
    enqueue.assign({ toldVersion: ledger.version, commands: [] });
  });

const child = (event: DoneActorEvent | ErrorActorEvent) => {
  const [kind, ...id] = event.actorId.split('/');
  return { kind, modelId: id.join('/') };
};

/** Tells apart a disk without the room that it should have from a job that would never fit. */
function ended(ledger: Ledger, event: DoneActorEvent | ErrorActorEvent, context: Context): Step {
  const step = carriedOut(ledger, event);
  const { budgetBytes } = context.settings;
  const commands = step.commands.map((command) =>
    command.kind === 'failed' && command.error.code === 'DISK_FULL'
      ? { ...command, here: fitsBudget(ledger, { run: command.run, budgetBytes }) }
      : command,
  );
  return { ...step, commands };
}

function carriedOut(ledger: Ledger, event: DoneActorEvent | ErrorActorEvent): Step {
  const { kind, modelId } = child(event);
  if (kind === 'evict')
    return 'error' in event ? evictFailed(ledger, { modelId }) : evicted(ledger, { modelId });
  if ('error' in event) return fetchFailed(ledger, { modelId, error: jobErrorOf(event.error, 'INTERNAL') });
  const output = event.output as ModelFetchOutput;
  return output.kind === 'fetched' ? fetched(ledger, output) : fetchFailed(ledger, output);
}

/** A finished child leaves the snapshot, or thousands of them would stay there. */
const bury = base.enqueueActions(({ enqueue, event }) => {
  const { actorId } = event as DoneActorEvent;
  enqueue.stopChild(actorId);
});

/** A fetch found no room, by the budget or by the device: only a measurement tells which. */
const diskFull = ({ event }: { event: DoneActorEvent | ErrorActorEvent }) => {
  const error: JobError | undefined =
    'error' in event
      ? jobErrorOf(event.error, 'INTERNAL')
      : (event.output as { error?: JobError } | undefined)?.error;
  return error?.code === 'DISK_FULL';
};

function measured(context: Context, freeBytes: number): number {
  const onDiskBytes = Object.values(context.ledger.entries).reduce(
    (sum, entry) => sum + (entry.state === 'fetching' ? 0 : entry.bytes),
    0,
  );
  return limitBytes({ ...context.settings, onDiskBytes, freeBytes });
}

type Measured = DoneActorEvent<{ freeBytes: number }>;
const setLimit = apply((ledger, event: Measured, context) =>
  limited(ledger, { limitBytes: measured(context, event.output.freeBytes) }),
);

const announce = [
  apply((ledger) => ({ ledger, commands: [] })),
  { type: 'tell' as const, params: { to: 'runs', event: { type: 'cache.up' } } },
];

const tellRoomy = { type: 'tell' as const, params: { to: 'runs', event: { type: 'disk.roomy' } } };
const diskIsFine = {
  type: 'tell' as const,
  params: {
    to: 'supervisor',
    event: { type: 'machine.recovered', reason: 'disk', detail: 'the disk has room for models' },
  },
};

/**
 * The models of this machine: which are on disk, on their way, in use. Runs say what they want and when
 * they are done; the ledger (policy/cache-ledger.ts) decides, one child per model in motion does it.
 * `scanning` looks at the disk once; `serving` is never left. A disk that is fuller than the budget
 * says makes the machine degraded, and is measured until it has room again.
 */
export const modelCacheChart = base.createMachine({
  id: 'cache',
  context: ({ input }) => ({
    ...input,
    ledger: emptyLedger(0),
    commands: [],
    backlog: [],
    motions: 0,
    toldVersion: nothingTold,
  }),
  initial: 'scanning',
  on: { 'roll.call': {}, 'disk.check': {} },
  states: {
    scanning: {
      // Runs ask again when `cache.up` is told.
      on: { 'models.want': {}, 'models.release': {} },
      invoke: {
        id: 'scan',
        src: 'scan',
        input: ({ context }) => ({ folder: context.folder }),
        onDone: {
          target: 'serving',
          actions: [
            diskIsFine,
            assign({
              ledger: ({ context, event }) => {
                const { models, freeBytes } = event.output;
                const ledger = models.reduce(found, emptyLedger(0, context.settings.eviction));
                return {
                  ...ledger,
                  limitBytes: limitBytes({ ...context.settings, onDiskBytes: usedBytes(ledger), freeBytes }),
                };
              },
            }),
          ],
        },
        onError: {
          target: 'unreadable',
          actions: {
            type: 'tell',
            params: ({ event }) => ({
              to: 'supervisor',
              event: {
                type: 'machine.degraded',
                reason: 'disk',
                detail: `the model folder cannot be read: ${String(event.error)}`,
              },
            }),
          },
        },
      },
    },
    /** Jobs without models can run meanwhile. */
    unreadable: {
      entry: { type: 'tell', params: { to: 'claimer', event: { type: 'claim.resident', resident: [] } } },
      after: { remeasureMs: 'scanning' },
      on: { 'models.want': {}, 'models.release': {} },
    },
    serving: {
      entry: announce,
      on: {
        'roll.call': { actions: [assign({ toldVersion: nothingTold }), ...announce] },
        'models.want': {
          actions: apply((ledger, event: Extract<CacheEvent, { type: 'models.want' }>) =>
            want(ledger, event),
          ),
        },
        // Not measured at once: room that inputs need for a moment only would look free by now.
        'disk.check': {
          target: '.full',
          actions: {
            type: 'tell',
            params: ({ event }) => ({
              to: 'supervisor',
              event: { type: 'machine.degraded', reason: 'disk', detail: event.detail },
            }),
          },
        },
        'models.release': {
          actions: apply((ledger, event: Extract<CacheEvent, { type: 'models.release' }>) =>
            release(ledger, event),
          ),
        },
        'fetch.sized': {
          actions: apply((ledger, event: Extract<CacheEvent, { type: 'fetch.sized' }>) =>
            sized(ledger, event),
          ),
        },
        'fetch.progress': {
          actions: apply((ledger, event: Extract<CacheEvent, { type: 'fetch.progress' }>) =>
            progressed(ledger, event),
          ),
        },
        'xstate.done.actor.*': [
          { guard: diskFull, target: '.measuring', actions: [bury, apply(ended)] },
          { actions: [bury, apply(ended)] },
        ],
        'xstate.error.actor.*': [
          { guard: diskFull, target: '.measuring', actions: [bury, apply(ended)] },
          { actions: [bury, apply(ended)] },
        ],
      },
      initial: 'roomy',
      states: {
        roomy: {},
        measuring: {
          invoke: {
            id: 'measure',
            src: 'measure',
            input: ({ context }) => ({ folder: context.folder }),
            onDone: [
              {
                guard: ({ context, event }) =>
                  measured(context, event.output.freeBytes) < context.settings.budgetBytes,
                target: 'full',
                actions: [
                  setLimit,
                  {
                    type: 'tell',
                    params: ({ context }) => ({
                      to: 'supervisor',
                      event: {
                        type: 'machine.degraded',
                        reason: 'disk',
                        detail: `models may use ${context.ledger.limitBytes} bytes of the disk, configured are ${context.settings.budgetBytes}`,
                      },
                    }),
                  },
                ],
              },
              { target: 'roomy', actions: [setLimit, diskIsFine, tellRoomy] },
            ],
            onError: 'full',
          },
        },
        full: { after: { remeasureMs: 'measuring' } },
      },
    },
  },
  options: chartOptions,
});
