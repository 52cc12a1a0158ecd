import { and, assign, setup } from 'xstate';
import { type RetryDelays, retryDelayMs } from '#machines/policy/backoff-restart.ts';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type { Rng } from '#protocol/env.ts';
import type { JobError } from '#protocol/job.ts';
import { type ModelManifest, modelBytes } from '#protocol/model.ts';
import { chartOptions } from './chart-options.ts';
import { isHubTrouble } from './link.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

/** A model as the hub signs it: where each file can be had, best source first. */
export interface SignedModel {
  manifest: ModelManifest;
  files: { name: string; bytes: number; sha256: string; urls: string[] }[];
}

export interface FetchSettings {
  /** Times that all sources are tried, each with fresh URLs. */
  rounds: number;
  /** Waits between rounds. */
  retry: RetryDelays;
}

export interface ModelFetchInput {
  modelId: string;
  settings: FetchSettings;
  rng: Rng;
}

export type ModelFetchOutput =
  | { kind: 'fetched'; modelId: string; bytes: number }
  | { kind: 'failed'; modelId: string; error: JobError };

type FetchEvent = { type: 'fetch.go' } | { type: 'fetch.refused'; error: JobError };

interface Context extends ModelFetchInput {
  signed: SignedModel | null;
  granted: boolean;
  file: number;
  source: number;
  round: number;
  /** SHA-256 of what came last. */
  got: string | null;
  /** The worst news so far: a wrong hash is told rather than a refused connection. */
  problem: JobError | null;
}

const fileOf = (context: Context) => {
  const file = context.signed?.files[context.file];
  if (file === undefined) throw new RangeError(`model ${context.modelId} has no file ${context.file}`);
  return file;
};

function mismatch(context: Context): JobError {
  const file = fileOf(context);
  return {
    code: 'MODEL_CHECKSUM_MISMATCH',
    message: `model ${context.modelId}: ${file.name} has SHA-256 ${context.got}, registered is ${file.sha256}`,
    retryable: true,
  };
}

const base = setup({
  types: {
    context: {} as Context,
    input: {} as ModelFetchInput,
    output: {} as ModelFetchOutput,
    events: {} as FetchEvent,
  },
  actors: {
    describe: unprovided<SignedModel, { modelId: string }>(),
    fetchFile: unprovided<
      { sha256: string },
      { modelId: string; name: string; bytes: number; url: string; doneBytes: number; totalBytes: number }
    >(),
    /** Throws away what was fetched of a file, or of the whole model. */
    discard: unprovided<void, { modelId: string; name: string | null }>(),
    publish: unprovided<void, { manifest: ModelManifest }>(),
  },
  actions: {
    tell: safeSend,
    note: assign(({ context }, { error }: { error: unknown }) => ({
      problem:
        context.problem?.code === 'MODEL_CHECKSUM_MISMATCH'
          ? context.problem
          : jobErrorOf(error, 'MODEL_UNAVAILABLE'),
    })),
  },
  guards: {
    hashFits: ({ context }) => context.got === fileOf(context).sha256,
    filesLeft: ({ context }) => context.file + 1 < (context.signed?.files.length ?? 0),
    sourcesLeft: ({ context }) => context.source + 1 < fileOf(context).urls.length,
    roundsLeft: ({ context }) => context.round + 1 < context.settings.rounds,
    granted: ({ context }) => context.granted,
    hopeless: ({ context }) => context.problem?.retryable === false,
  },
  delays: { retryMs: ({ context }) => retryDelayMs(context.round + 1, context.settings.retry, context.rng) },
});

/**
 * One model on its way here. `describing` gets manifest and signed URLs; `queued` waits for room in
 * the cache; `fetching` and `verifying` take one file from one source at a time (a part that is there
 * is continued, wherever it came from); a wrong hash or a failure moves to the next source, then to a
 * new round with fresh URLs; `publishing` makes it visible in one rename. Ends `fetched` or `failed`.
 */
export const modelFetchChart = base.createMachine({
  id: 'model-fetch',
  context: ({ input }) => ({
    ...input,
    signed: null,
    granted: false,
    file: 0,
    source: 0,
    round: 0,
    got: null,
    problem: null,
  }),
  initial: 'describing',
  output: ({ context }) =>
    context.problem === null
      ? {
          kind: 'fetched',
          modelId: context.modelId,
          bytes: context.signed === null ? 0 : modelBytes(context.signed.manifest),
        }
      : { kind: 'failed', modelId: context.modelId, error: context.problem },
  on: { 'fetch.go': {}, 'fetch.refused': {} },
  states: {
    describing: {
      invoke: {
        id: 'describe',
        src: 'describe',
        input: ({ context }) => ({ modelId: context.modelId }),
        onDone: [
          { guard: 'granted', target: 'fetching', actions: assign({ signed: ({ event }) => event.output }) },
          { target: 'queued', actions: assign({ signed: ({ event }) => event.output }) },
        ],
        onError: [
          { guard: ({ event }) => isHubTrouble(event.error), target: 'unanswered' },
          {
            target: 'roundOver',
            actions: { type: 'note', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
    },
    /** The hub could not be asked: no source has failed, so that is no round. */
    unanswered: { after: { retryMs: 'describing' } },
    queued: {
      entry: {
        type: 'tell',
        params: ({ context }) => ({
          to: 'parent',
          event: {
            type: 'fetch.sized',
            modelId: context.modelId,
            bytes: context.signed === null ? 0 : modelBytes(context.signed.manifest),
          },
        }),
      },
      on: {
        'fetch.go': { target: 'fetching', actions: assign({ granted: true }) },
        'fetch.refused': { target: 'failed', actions: assign({ problem: ({ event }) => event.error }) },
      },
    },
    fetching: {
      invoke: {
        id: 'fetchFile',
        src: 'fetchFile',
        input: ({ context }) => {
          const file = fileOf(context);
          const files = context.signed?.files ?? [];
          const sum = (list: typeof files) => list.reduce((bytes, item) => bytes + item.bytes, 0);
          return {
            modelId: context.modelId,
            name: file.name,
            bytes: file.bytes,
            url: file.urls[context.source] as string,
            doneBytes: sum(files.slice(0, context.file)),
            totalBytes: sum(files),
          };
        },
        onDone: { target: 'verifying', actions: assign({ got: ({ event }) => event.output.sha256 }) },
        onError: [
          {
            guard: ({ event }) => jobErrorOf(event.error, 'MODEL_UNAVAILABLE').code === 'DISK_FULL',
            target: 'discarding',
            actions: assign({ problem: ({ event }) => jobErrorOf(event.error, 'DISK_FULL') }),
          },
          {
            target: 'sourceOver',
            actions: { type: 'note', params: ({ event }) => ({ error: event.error }) },
          },
        ],
      },
    },
    verifying: {
      always: [
        {
          guard: and(['hashFits', 'filesLeft']),
          target: 'fetching',
          actions: assign({ file: ({ context }) => context.file + 1, source: 0 }),
        },
        { guard: 'hashFits', target: 'publishing' },
        { target: 'refusing', actions: assign({ problem: ({ context }) => mismatch(context) }) },
      ],
    },
    /** The bytes are wrong: nothing of them may be continued from. */
    refusing: {
      entry: {
        type: 'tell',
        params: ({ context }) => ({
          to: 'reporter',
          event: {
            type: 'incident',
            kind: 'model.refused',
            detail: context.problem?.message ?? '',
            jobId: null,
          },
        }),
      },
      invoke: {
        id: 'discard',
        src: 'discard',
        input: ({ context }) => ({ modelId: context.modelId, name: fileOf(context).name }),
        onDone: 'sourceOver',
        onError: 'sourceOver',
      },
    },
    sourceOver: {
      always: [
        {
          guard: 'sourcesLeft',
          target: 'fetching',
          actions: assign({ source: ({ context }) => context.source + 1 }),
        },
        { target: 'roundOver' },
      ],
    },
    roundOver: {
      always: [
        { guard: 'hopeless', target: 'discarding' },
        { guard: 'roundsLeft', target: 'pausing' },
        { target: 'discarding' },
      ],
    },
    pausing: {
      after: {
        retryMs: {
          target: 'describing',
          actions: assign({ round: ({ context }) => context.round + 1, source: 0 }),
        },
      },
    },
    publishing: {
      invoke: {
        id: 'publish',
        src: 'publish',
        input: ({ context }) => ({ manifest: (context.signed as SignedModel).manifest }),
        onDone: { target: 'done', actions: assign({ problem: null }) },
        onError: {
          target: 'discarding',
          actions: { type: 'note', params: ({ event }) => ({ error: event.error }) },
        },
      },
    },
    discarding: {
      invoke: {
        id: 'discardAll',
        src: 'discard',
        input: ({ context }) => ({ modelId: context.modelId, name: null }),
        onDone: 'failed',
        onError: 'failed',
      },
    },
    failed: { type: 'final' },
    done: { type: 'final' },
  },
  options: chartOptions,
});
