import { type AnyActorRef, assign, setup } from 'xstate';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type { ConnectorOutput, ConnectorResult, ResidentModel, StagedInput } from '#protocol/connector.ts';
import type { JobError, JobOutput } from '#protocol/job.ts';
import type { JsonValue } from '#protocol/json.ts';
import type { Assignment, ClaimOffer, ClaimResult, LinkAnswer, LinkBody } from '#protocol/link.ts';
import { isHubTrouble } from './link.ts';
import { safeSend } from './safe-send.ts';
import { unprovided, unprovidedCallback } from './unprovided.ts';

export type ExitCause = LinkBody<'exit'>['cause'];

export interface JobRunSettings {
  /** A run without a sign of progress for this long is stalled, ms; at least twice its expected time. */
  stallMs: number;
  /** What a connector may take to stop its work after an abort, ms. Past it the service is ended. */
  stopMs: number;
  /** Wait before an unanswered completion or exit is repeated, ms; a new link repeats at once. */
  repeatMs: number;
  /** How long the claimer may take to say whether the completion carries a claim, ms. */
  rideMs: number;
}

export interface JobRunInput {
  assignment: Assignment;
  /** Name of this run in the actor system: of the job and its token. */
  name: string;
  /** Folder of this run; made by its effects, removed at the end. */
  folder: string;
  settings: JobRunSettings;
  /** Nothing is to be run: only this exit is reported (a draining machine, a crashed run). */
  exit: ExitCause | null;
}

export interface JobRunOutput {
  kind: 'committed' | 'refused' | 'exited' | 'dropped';
}

/**
 * Phases as `runs` sees them. `uploading` and `ending` no longer occupy the slot. An `overdue` run reports
 * its exit while the service still works on it; a `lingering` one has no lease any more, only the slot.
 */
export type RunPhase = 'preparing' | 'running' | 'uploading' | 'ending' | 'overdue' | 'lingering';

export type JobRunEvent =
  | { type: 'slot.granted'; device: string }
  | { type: 'permit.granted' }
  | { type: 'models.ready'; models: ResidentModel[] }
  /** `here`: this machine has no room for them, which another may have. */
  | { type: 'models.failed'; error: JobError; here?: boolean }
  | { type: 'cache.up' }
  /** The actor of its card is up, perhaps anew and without a memory of its permit. */
  | { type: 'device.up' }
  /** Its service is up, perhaps with an actor that knows of no run. */
  | { type: 'service.up' }
  /** Its service was ended, and all it worked on with it. */
  | { type: 'service.ended' }
  | { type: 'link.online' }
  | { type: 'run.progress' }
  | { type: 'run.finished'; result: ConnectorResult }
  | { type: 'run.failed'; error: JobError }
  | { type: 'ride.offer'; offer: ClaimOffer | null }
  /** The job is to end here with this exit. */
  | { type: 'run.end'; cause: ExitCause }
  /** The lease has ended: stop, and tell the hub nothing. */
  | { type: 'run.drop'; reason: string };

export interface ExecuteInput {
  assignment: Assignment;
  inputs: StagedInput[];
  models: ResidentModel[];
  folder: string;
}

export interface Context extends JobRunInput {
  device: string | null;
  /** Models and card are not given back yet. */
  holds: boolean;
  inputs: StagedInput[];
  models: ResidentModel[];
  outputs: ConnectorOutput[];
  data: JsonValue;
  uploaded: JobOutput[];
  uploads: number;
  ride: ClaimOffer | null;
  outcome: JobRunOutput['kind'];
}

/** Uploads of one run: after this many the result counts as lost. */
const uploadsLimit = 3;

export const base = setup({
  types: {
    context: {} as Context,
    input: {} as JobRunInput,
    output: {} as JobRunOutput,
    events: {} as JobRunEvent,
  },
  actors: {
    stageInputs: unprovided<StagedInput[], { assignment: Assignment; folder: string }>(),
    execute: unprovidedCallback<{ type: 'abort' }, ExecuteInput>(),
    upload: unprovided<JobOutput[], { assignment: Assignment; outputs: ConnectorOutput[] }>(),
    complete: unprovided<LinkAnswer<'complete'>, LinkBody<'complete'>>(),
    exit: unprovided<LinkAnswer<'exit'>, LinkBody<'exit'>>(),
    cleanUp: unprovided<void, { folder: string }>(),
  },
  actions: {
    tell: safeSend,
    forgetRide: assign({ ride: null }),
    /** The run has failed: this is what its exit will say. */
    fails: assign((_, { error }: { error: JobError }) => ({
      exit: { kind: 'fail' as const, error },
      outcome: 'exited' as const,
    })),
    /** Gives back the models and the card, once. */
    giveBack: ({ context, system, self }) => {
      if (!context.holds) return;
      const say = (to: string, type: string) =>
        safeSend({ system, self }, { to, event: { type, run: context.name } });
      if (context.assignment.models.length > 0) say('cache', 'models.release');
      if (context.device !== null) say(`gpu/${context.device}`, 'permit.release');
    },
    holdNothing: assign({ holds: false }),
    abort: ({ system, self }) => {
      const child = (self.getSnapshot() as { children: Record<string, AnyActorRef | undefined> }).children[
        'execute'
      ];
      safeSend({ system, self }, { to: child, event: { type: 'abort' } });
    },
    /** The answer to the claim that the completion carried goes to the claimer. */
    passRide: ({ context, system, self }, { next }: { next: ClaimResult | null }) => {
      if (context.ride === null) return;
      const event =
        next === null
          ? { type: 'ride.lost', run: context.name }
          : { type: 'ride.answered', run: context.name, result: next };
      safeSend({ system, self }, { to: 'claimer', event });
    },
  },
  guards: {
    reportsOnly: ({ context }) => context.exit !== null,
    uploadsLeft: ({ context }) => context.uploads < uploadsLimit,
    hasOutputs: ({ context }) => context.outputs.length > 0,
    dropped: ({ context }) => context.outcome === 'dropped',
  },
  delays: {
    stallMs: ({ context }) => Math.max(context.settings.stallMs, 2 * context.assignment.expectedMs),
    stopMs: ({ context }) => context.settings.stopMs,
    repeatMs: ({ context }) => context.settings.repeatMs,
    rideMs: ({ context }) => context.settings.rideMs,
  },
});

/** Ends the run with the error of an effect; what is not ours gets `fallback`. */
export const failsWith = (fallback: JobError['code']) => ({
  type: 'fails' as const,
  params: ({ event }: { event: { error: unknown } }) => ({ error: jobErrorOf(event.error, fallback) }),
});
export const stalled = {
  type: 'fails' as const,
  params: {
    error: {
      code: 'JOB_STALLED' as const,
      message: 'the run showed no progress before its deadline; raise expectedMs if it needs longer',
      retryable: true,
    },
  },
};
/** No room on this disk is no fault of the job: it goes back with its attempt, and `runs` takes no more such. */
export const noRoomHere = [
  base.assign({
    exit: ({ event }) => {
      const { message } = (event as unknown as { error: { message: string } }).error;
      return { kind: 'release' as const, reason: `this machine has no room: ${message}`.slice(0, 500) };
    },
    outcome: 'exited',
  }),
  {
    type: 'tell' as const,
    params: ({ context }: { context: Context }) => ({
      to: 'parent',
      event: { type: 'run.noRoom', run: context.name },
    }),
  },
];
export const checkDisk = {
  type: 'tell' as const,
  params: ({ event }: { event: { error: unknown } }) => ({
    to: 'cache',
    event: { type: 'disk.check', detail: jobErrorOf(event.error, 'DISK_FULL').message },
  }),
};
export const diskFull = ({ event }: { event: { error: unknown } }) =>
  jobErrorOf(event.error, 'INTERNAL').code === 'DISK_FULL';

export const resultLost = {
  type: 'fails' as const,
  params: ({ event }: { event: { output: LinkAnswer<'complete'> } }) => ({
    error: {
      code: 'OUTPUT_MISSING' as const,
      message: event.output.detail ?? 'a result did not reach the object store',
      retryable: true,
    },
  }),
};
export const serviceEnded = {
  type: 'fails' as const,
  params: {
    error: {
      code: 'CONNECTOR_FAILED' as const,
      message: 'the service was ended while it worked on the run',
      retryable: true,
    },
  },
};
export const setExit = base.assign({
  exit: ({ event }) => (event as { cause: ExitCause }).cause,
  outcome: 'exited',
});
export const setDropped = base.assign({ outcome: 'dropped' });

export const phase = (name: RunPhase) => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: 'parent',
    event: { type: 'run.phase', run: context.name, phase: name },
  }),
});
export const askModels = {
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: 'cache',
    event: {
      type: 'models.want',
      run: context.name,
      jobId: context.assignment.jobId,
      service: context.assignment.service,
      models: context.assignment.models,
    },
  }),
};
export const askPermit = {
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: `gpu/${context.device}`,
    event: { type: 'permit.ask', run: context.name },
  }),
};
export const tellConnector = (type: 'connector.began' | 'connector.ended' | 'connector.stuck') => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: `connector/${context.assignment.service}`,
    event: { type, run: context.name },
  }),
});
const rideLost = { type: 'passRide' as const, params: { next: null } };
const ridePassed = {
  type: 'passRide' as const,
  params: ({ event }: { event: { output: LinkAnswer<'complete'> } }) => ({ next: event.output.next }),
};

export const letGo = [{ type: 'giveBack' as const }, { type: 'holdNothing' as const }];
/** Once told, a ride is over: the next completion of this run carries none. */
const noRide = { type: 'forgetRide' as const };
export const passRide = [ridePassed, noRide];
export const loseRide = [rideLost, noRide];

/** The hub could not be asked: no fault of the job, and asked again while the lease is held. */
export const linkTrouble = ({ event }: { event: { error: unknown } }) => isHubTrouble(event.error);

/**
 * The hub will answer the same to the same words: repeating them would hold the job for ever. Never said
 * of a hub in trouble, or of a link that has to say hello first: a result that is there waits for that.
 */
export const refusedForGood = ({ event }: { event: { error: unknown } }) => {
  const { code, retryable } = jobErrorOf(event.error, 'INTERNAL');
  return !retryable && code !== 'UNAUTHORIZED' && !isHubTrouble(event.error);
};

export const ending = [
  { guard: 'dropped' as const, target: '#job-run.cleaning' },
  { target: '#job-run.exiting' },
];
