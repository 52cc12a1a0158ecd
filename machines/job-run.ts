import { and, assign } from 'xstate';
import { chartOptions } from './chart-options.ts';
import {
  askModels,
  askPermit,
  base,
  type Context,
  checkDisk,
  diskFull,
  type ExitCause,
  ending,
  failsWith,
  letGo,
  linkTrouble,
  loseRide,
  noRoomHere,
  passRide,
  phase,
  refusedForGood,
  resultLost,
  serviceEnded,
  setDropped,
  setExit,
  stalled,
  tellConnector,
} from './job-run-base.ts';

const repeat = { after: { repeatMs: 'sending' }, on: { 'link.online': 'sending' } } as const;
const reportTo = (context: Context) => ({
  jobId: context.assignment.jobId,
  token: context.assignment.token,
});

const inputsRegion = base.createStateConfig({
  initial: 'staging',
  states: {
    staging: {
      invoke: {
        id: 'stageInputs',
        src: 'stageInputs',
        input: ({ context }) => ({ assignment: context.assignment, folder: context.folder }),
        onDone: { target: 'staged', actions: assign({ inputs: ({ event }) => event.output }) },
        onError: [
          { guard: linkTrouble, target: 'waiting' },
          { guard: diskFull, target: '#job-run.exiting', actions: [...noRoomHere, checkDisk] },
          { target: '#job-run.exiting', actions: failsWith('INPUT_UNAVAILABLE') },
        ],
      },
    },
    waiting: { after: { repeatMs: 'staging' }, on: { 'link.online': 'staging' } },
    staged: { type: 'final' },
  },
});

const modelsRegion = base.createStateConfig({
  initial: 'checking',
  states: {
    checking: {
      always: [
        { guard: ({ context }) => context.assignment.models.length === 0, target: 'here' },
        { target: 'waiting' },
      ],
    },
    waiting: {
      entry: askModels,
      on: {
        'models.ready': { target: 'here', actions: assign({ models: ({ event }) => event.models }) },
        'models.failed': [
          { guard: ({ event }) => event.here === true, target: '#job-run.exiting', actions: noRoomHere },
          {
            target: '#job-run.exiting',
            actions: { type: 'fails', params: ({ event }) => ({ error: event.error }) },
          },
        ],
        // The cache was restarted and knows of no wish.
        'cache.up': { actions: askModels },
      },
    },
    here: { type: 'final' },
  },
});

const queueing = base.createStateConfig({
  initial: 'slot',
  on: { 'cache.up': { actions: askModels } },
  states: {
    slot: { always: { guard: ({ context }) => context.device !== null, target: 'permit' } },
    permit: {
      entry: askPermit,
      on: { 'device.up': { actions: askPermit }, 'permit.granted': '#job-run.working' },
    },
  },
});

/** Says the exit until the hub has answered it. */
const exitReport = base.createStateConfig({
  initial: 'sending',
  states: {
    sending: {
      invoke: {
        id: 'exit',
        src: 'exit',
        input: ({ context }) => ({ ...reportTo(context), cause: context.exit as ExitCause }),
        onDone: 'told',
        // Told otherwise for good: the lease is left to the beats, which name this run no more.
        onError: [{ guard: refusedForGood, target: 'told' }, { target: 'waiting' }],
      },
    },
    waiting: repeat,
    told: { type: 'final' },
  },
});

const complain = tellConnector('connector.stuck');
/** What ends the wait for a service that does not let go. */
const untilLetGo = (target: '#job-run.exiting' | '#job-run.cleaning') =>
  ({
    'run.finished': target,
    'run.failed': target,
    'service.ended': target,
    // Its actor is new, or it would not have come up with this run.
    'service.up': { actions: complain },
    'run.end': {},
  }) as const;

const working = base.createStateConfig({
  entry: [phase('running'), tellConnector('connector.began')],
  exit: [...letGo, tellConnector('connector.ended')],
  invoke: {
    id: 'execute',
    src: 'execute',
    input: ({ context }) => ({
      assignment: context.assignment,
      inputs: context.inputs,
      models: context.models,
      folder: context.folder,
    }),
    onError: { target: '#job-run.exiting', actions: failsWith('CONNECTOR_FAILED') },
  },
  initial: 'running',
  on: {
    'cache.up': { actions: askModels },
    'device.up': { actions: askPermit },
    'service.up': { actions: tellConnector('connector.began') },
  },
  states: {
    running: {
      on: {
        'run.progress': { target: 'running', reenter: true },
        'run.finished': [
          {
            guard: ({ event }) => event.result.outputs.length > 0,
            target: '#job-run.uploading',
            actions: assign({
              outputs: ({ event }) => event.result.outputs,
              data: ({ event }) => event.result.data,
            }),
          },
          {
            target: '#job-run.completing',
            actions: [
              assign({ data: ({ event }) => event.result.data }),
              // Before the slot is given up: this completion may carry the claim for it.
              {
                type: 'tell',
                params: ({ context }) => ({
                  to: 'claimer',
                  event: { type: 'ride.ask', run: context.name, service: context.assignment.service },
                }),
              },
            ],
          },
        ],
        'run.failed': {
          target: '#job-run.exiting',
          actions: { type: 'fails', params: ({ event }) => ({ error: event.error }) },
        },
        'service.ended': { target: '#job-run.exiting', actions: serviceEnded },
        'run.end': { target: 'stopping', actions: setExit },
        'run.drop': { target: 'stopping', actions: setDropped },
      },
      after: { stallMs: { target: 'stopping', actions: stalled } },
    },
    /** The work must stop, not only our wait for it: the slot stays taken until the service lets go. */
    stopping: {
      entry: 'abort',
      on: {
        'run.finished': ending,
        'run.failed': ending,
        'service.ended': ending,
        'run.end': {},
        'run.drop': { actions: setDropped },
      },
      after: {
        stopMs: [
          { guard: 'dropped', target: 'lingering', actions: complain },
          { target: 'overdue', actions: complain },
        ],
      },
    },
    /** The job does not wait for a service that clings to it: its lease ends, its slot stays taken. */
    overdue: {
      ...exitReport,
      entry: phase('overdue'),
      onDone: 'lingering',
      on: {
        ...untilLetGo('#job-run.exiting'),
        'run.drop': { target: 'lingering', actions: setDropped },
      },
    },
    lingering: {
      entry: phase('lingering'),
      on: { ...untilLetGo('#job-run.cleaning'), 'run.drop': {} },
    },
  },
});

const completing = base.createStateConfig({
  initial: 'asking',
  on: {
    // The result may be with the hub already, and a committed completion wins; else it is refused.
    'run.end': {},
    'run.drop': { target: '#job-run.cleaning', actions: setDropped },
  },
  states: {
    asking: {
      entry: phase('ending'),
      always: { guard: 'hasOutputs', target: 'sending' },
      on: { 'ride.offer': { target: 'sending', actions: assign({ ride: ({ event }) => event.offer }) } },
      after: { rideMs: 'sending' },
    },
    sending: {
      invoke: {
        id: 'complete',
        src: 'complete',
        input: ({ context }) => ({
          ...reportTo(context),
          outputs: context.uploaded,
          data: context.data,
          next: context.ride,
        }),
        onDone: [
          {
            guard: ({ event }) => event.output.kind === 'committed',
            target: '#job-run.cleaning',
            actions: passRide,
          },
          {
            guard: ({ event }) => event.output.kind === 'refused',
            target: '#job-run.cleaning',
            actions: [...passRide, assign({ outcome: 'refused' })],
          },
          { guard: and(['hasOutputs', 'uploadsLeft']), target: '#job-run.uploading', actions: passRide },
          { target: '#job-run.exiting', actions: [...passRide, resultLost] },
        ],
        onError: [
          { guard: refusedForGood, target: '#job-run.exiting', actions: failsWith('INTERNAL') },
          { target: 'waiting' },
        ],
      },
    },
    waiting: repeat,
  },
});

/**
 * One run of one job on this machine. `preparing` (inputs and models side by side) is left when both
 * are here; `queueing` by a slot and a permit of its card; `working` holds both until the service has
 * let go of the run or was ended, if need be for longer than the job waits for that; `uploading` and
 * `completing` hold only the lease; `exiting` repeats the exit until the hub answers or refuses it for
 * good; `cleaning` ends it. `run.end` turns any of them but completing into an exit; `run.drop` ends it
 * without a word, because somebody else may hold the job by now.
 */
export const jobRunChart = base.createMachine({
  id: 'job-run',
  context: ({ input }) => ({
    ...input,
    device: null,
    holds: true,
    inputs: [],
    models: [],
    outputs: [],
    data: null,
    uploaded: [],
    uploads: 0,
    ride: null,
    outcome: input.exit === null ? 'committed' : 'exited',
  }),
  initial: 'beginning',
  output: ({ context }) => ({ kind: context.outcome }),
  on: {
    'run.end': { target: '.exiting', actions: setExit },
    'run.drop': { target: '.cleaning', actions: setDropped },
    'slot.granted': { actions: assign({ device: ({ event }) => event.device }) },
    // Too late to be carried: the claimer repeats it on its own.
    'ride.offer': {
      actions: {
        type: 'tell',
        params: ({ context }) => ({ to: 'claimer', event: { type: 'ride.lost', run: context.name } }),
      },
    },
    // Waits are ended by their states; what comes later finds nothing to do.
    'link.online': {},
    'cache.up': {},
    'device.up': {},
    'service.up': {},
    'service.ended': {},
    'run.progress': {},
    'run.finished': {},
    'run.failed': {},
    'models.ready': {},
    'models.failed': {},
    'permit.granted': {},
  },
  states: {
    beginning: { always: [{ guard: 'reportsOnly', target: 'exiting' }, { target: 'preparing' }] },
    preparing: {
      type: 'parallel',
      states: { inputs: inputsRegion, models: modelsRegion },
      onDone: 'queueing',
    },
    queueing,
    working,
    uploading: {
      entry: [phase('uploading'), assign({ uploads: ({ context }) => context.uploads + 1 })],
      invoke: {
        id: 'upload',
        src: 'upload',
        input: ({ context }) => ({ assignment: context.assignment, outputs: context.outputs }),
        onDone: { target: 'completing', actions: assign({ uploaded: ({ event }) => event.output }) },
        onError: [
          {
            guard: linkTrouble,
            target: 'reuploading',
            actions: assign({ uploads: ({ context }) => context.uploads - 1 }),
          },
          { guard: 'uploadsLeft', target: 'reuploading' },
          { target: 'exiting', actions: failsWith('OUTPUT_MISSING') },
        ],
      },
    },
    reuploading: { after: { repeatMs: 'uploading' }, on: { 'link.online': 'uploading' } },
    completing,
    exiting: {
      ...exitReport,
      entry: [phase('ending'), ...loseRide, ...letGo],
      onDone: 'cleaning',
      on: { 'run.end': {} },
    },
    cleaning: {
      entry: [...loseRide, ...letGo],
      invoke: {
        id: 'cleanUp',
        src: 'cleanUp',
        input: ({ context }) => ({ folder: context.folder }),
        onDone: 'done',
        onError: 'done',
      },
      on: { 'run.end': {}, 'run.drop': {} },
    },
    done: { type: 'final' },
  },
  options: chartOptions,
});
