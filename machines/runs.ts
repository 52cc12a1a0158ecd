import {
  type ActorRefFrom,
  type AnyEventObject,
  assign,
  type DoneActorEvent,
  type ErrorActorEvent,
  setup,
} from 'xstate';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import {
  atWork,
  changeEntry,
  claimable,
  exitAtOnce,
  holdings,
  names,
  occupies,
  type RunEntry,
  slotView,
  stagedServices,
  unended,
} from '#machines/policy/run-desk.ts';
import { freeSlot, type Slot } from '#machines/policy/slots.ts';
import type { Assignment } from '#protocol/link.ts';
import { compareTokens } from '#protocol/token.ts';
import { chartOptions } from './chart-options.ts';
import type { jobRunChart } from './job-run.ts';
import type { ExitCause, JobRunInput, JobRunSettings, RunPhase } from './job-run-base.ts';
import type { LinkStateEvent } from './link.ts';
import { safeSend } from './safe-send.ts';
import { siblingsLimit } from './supervise.ts';

export interface RunsInput {
  slots: Slot[];
  /** The job-run chart with its effects. */
  jobRun: typeof jobRunChart;
  settings: JobRunSettings;
  /** Folder below which each run has its own. */
  folder: string;
  staging: StagingSettings;
  /** The machine has begun to drain before this desk was started. */
  draining: boolean;
}

/** One job may be claimed and prepared while every slot of its service is still taken. */
export interface StagingSettings {
  /**
   * How long before the expected end of a running job, ms; 0 = never. Hides the round trip and the
   * fetches behind that job. Longer: the next job waits here while another machine may fall idle.
   */
  leadMs: number;
  /** A prepared job whose slot has not come free after this is given back, ms. */
  waitMs: number;
}

export type RunsEvent =
  | LinkStateEvent
  | DoneActorEvent
  | ErrorActorEvent
  | { type: 'runs.start'; assignment: Assignment }
  /** The hub wants the run of this job to end so: cancelled, or given back. */
  | { type: 'runs.end'; jobId: string; cause: ExitCause }
  | { type: 'runs.drop'; jobIds: string[]; reason: string }
  | { type: 'runs.dropAll'; reason: string }
  /** From now on a job that arrives is released at once. */
  | { type: 'runs.drain' }
  | { type: 'runs.releaseAll'; reason: string }
  | { type: 'run.phase'; run: string; phase: RunPhase }
  /** A running job is about to end, or the time at which it should have is over. */
  | { type: 'run.nearEnd'; run: string; near: boolean }
  | { type: 'run.slotLate'; run: string }
  /** A run was given back because the disk has no room for what it needs. */
  | { type: 'run.noRoom'; run: string }
  | { type: 'disk.roomy' }
  | { type: 'service.up'; service: string }
  | { type: 'service.down'; service: string }
  | { type: 'service.ended'; service: string }
  | { type: 'device.usable'; device: string; usable: boolean }
  | { type: 'cache.up' };

interface Context extends RunsInput {
  runs: Record<string, RunEntry>;
  upServices: string[];
  usableDevices: string[];
  noRoom: string[];
  /** What was told last; null before. */
  told: { free: string; running: string; count: number } | null;
}

/** Name of a run in the actor system: the token makes it unique for ever. */
export function runName({ jobId, token }: Pick<Assignment, 'jobId' | 'token'>): string {
  return `run/${jobId}.${token}`;
}

const base = setup({
  types: { context: {} as Context, input: {} as RunsInput, events: {} as RunsEvent },
  actions: {
    tell: safeSend,
    /** A restarted desk asks everyone whether they are up: they tell only changes otherwise. */
    rollCall: ({ context, system, self }) => {
      const peers = context.slots.flatMap((slot) => [`gpu/${slot.device}`, `connector/${slot.service}`]);
      for (const to of new Set(['cache', ...peers]))
        safeSend({ system, self }, { to, event: { type: 'roll.call' } });
    },
    tellRuns: (
      { context, system, self },
      { names, event }: { names: string[]; event: { type: string } & Record<string, unknown> },
    ) => {
      for (const name of names) if (name in context.runs) safeSend({ system, self }, { to: name, event });
    },
  },
  guards: {
    slotless: ({ context, event }) => {
      const entry = context.runs[(event as Extract<RunsEvent, { type: 'run.slotLate' }>).run];
      return entry !== undefined && entry.slot === null && occupies(entry);
    },
    known: ({ context, event }) =>
      runName((event as Extract<RunsEvent, { type: 'runs.start' }>).assignment) in context.runs,
  },
});

/** Tells claimer, lease and supervisor what is free and held, where that differs from what they know. */
const publish = base.enqueueActions(({ enqueue, context }) => {
  const free = claimable(context, siblingsLimit);
  const running = holdings(context);
  const count = unended(context);
  const [shut, staged] = [context.noRoom, stagedServices(context)];
  const told = { free: JSON.stringify({ free, shut, staged }), running: JSON.stringify(running), count };
  const tell = (to: string, event: AnyEventObject) => enqueue({ type: 'tell', params: { to, event } });
  const known = context.told;
  if (told.free !== known?.free || told.running !== known.running)
    tell('lease', { type: 'lease.holdings', running, free });
  if (told.free !== known?.free) tell('claimer', { type: 'claim.free', free, shut, staged });
  if (told.count !== known?.count) tell('supervisor', { type: 'runs.count', count: told.count });
  enqueue.assign({ told });
});

type SpawnRun = (
  logic: typeof jobRunChart,
  options: { id: string; systemId: string; input: JobRunInput },
) => ActorRefFrom<typeof jobRunChart>;

const start = base.enqueueActions(({ enqueue, context, event }) => {
  const { assignment } = event as Extract<RunsEvent, { type: 'runs.start' }>;
  const name = runName(assignment);
  const exit = exitAtOnce(context, assignment);
  const older = Object.values(context.runs).filter((entry) => entry.assignment.jobId === assignment.jobId);
  const stale = older
    .filter((entry) => compareTokens(entry.assignment.token, assignment.token) < 0)
    .map((entry) => entry.name);
  if (stale.length > 0)
    enqueue({
      type: 'tellRuns',
      params: { names: stale, event: { type: 'run.drop', reason: 'a newer lease of the job came' } },
    });
  const entry: RunEntry = {
    name,
    assignment,
    phase: exit === null ? 'preparing' : 'ending',
    slot: null,
    dropped: false,
    nearEnd: false,
  };
  enqueue.assign({ runs: { ...context.runs, [name]: entry } });
  enqueue.raise({ type: 'run.slotLate', run: name }, { id: `late/${name}`, delay: context.staging.waitMs });
  (enqueue.spawnChild as unknown as SpawnRun)(context.jobRun, {
    id: name,
    systemId: name,
    input: {
      assignment,
      name,
      folder: `${context.folder}/${assignment.jobId}.${assignment.token}`,
      settings: context.settings,
      exit,
    },
  });
});

const list = (ids: string[], id: string, present: boolean) =>
  present ? [...new Set([...ids, id])] : ids.filter((other) => other !== id);

/** A run that failed by a bug of ours still ends its lease: the same run again, with nothing but its exit. */
const bury = base.enqueueActions(({ enqueue, context, event }) => {
  const { actorId, error } = event as ErrorActorEvent;
  const entry = context.runs[actorId];
  enqueue.stopChild(actorId);
  enqueue({ type: 'tell', params: { to: 'claimer', event: { type: 'ride.lost', run: actorId } } });
  enqueue({
    type: 'tell',
    params: {
      to: 'supervisor',
      event: { type: 'child.ended', child: actorId, detail: String(error), failed: true, again: false },
    },
  });
  if (entry === undefined) return;
  const { service } = entry.assignment;
  if (atWork(entry)) {
    // Nobody can tell any more when the service lets go of it: no slot there is free before it was ended.
    enqueue.assign({ upServices: list(context.upServices, service, false) });
    enqueue({
      type: 'tell',
      params: { to: `connector/${service}`, event: { type: 'connector.stuck', run: actorId } },
    });
  }
  const { [actorId]: _, ...runs } = context.runs;
  if (entry.phase === 'ending' || entry.phase === 'lingering') enqueue.assign({ runs });
  else {
    enqueue.assign({ runs: { ...runs, [actorId]: { ...entry, phase: 'ending', slot: null } } });
    (enqueue.spawnChild as unknown as SpawnRun)(context.jobRun, {
      id: actorId,
      systemId: actorId,
      input: {
        assignment: entry.assignment,
        name: actorId,
        folder: `${context.folder}/${entry.assignment.jobId}.${entry.assignment.token}`,
        settings: context.settings,
        exit: { kind: 'fail', error: jobErrorOf(error, 'INTERNAL') },
      },
    });
  }
});

const forget = base.enqueueActions(({ enqueue, context, event }) => {
  const { actorId } = event as DoneActorEvent;
  const { [actorId]: _, ...runs } = context.runs;
  enqueue.stopChild(actorId);
  for (const timer of ['late', 'near', 'over']) enqueue.cancel(`${timer}/${actorId}`);
  enqueue.assign({ runs });
});

/** A run that begins is timed by its expected length, to claim the next one shortly before its end. */
const setPhase = base.enqueueActions(({ enqueue, context, event }) => {
  const { run, phase } = event as Extract<RunsEvent, { type: 'run.phase' }>;
  enqueue.assign({ runs: changeEntry(context, run, { phase }) });
  const { leadMs } = context.staging;
  const expectedMs = context.runs[run]?.assignment.expectedMs;
  // A job shorter than the lead ends before a claim of its own would pay: its completion carries one.
  if (phase !== 'running' || leadMs === 0 || expectedMs === undefined || expectedMs <= leadMs) return;
  const near = (isNear: boolean) => ({ type: 'run.nearEnd' as const, run, near: isNear });
  enqueue.raise(near(true), { id: `near/${run}`, delay: expectedMs - leadMs });
  enqueue.raise(near(false), { id: `over/${run}`, delay: expectedMs + leadMs });
});

const setNearEnd = base.assign({
  runs: ({ context, event }) => {
    const { run, near } = event as Extract<RunsEvent, { type: 'run.nearEnd' }>;
    return changeEntry(context, run, { nearEnd: near });
  },
});

/** Runs without a slot get the ones that came free, oldest first. */
const reslot = base.enqueueActions(({ enqueue, context }) => {
  let runs = context.runs;
  for (const entry of Object.values(context.runs)) {
    if (entry.slot !== null || !occupies(entry)) continue;
    const slot = freeSlot(slotView({ ...context, runs }), entry.assignment.service);
    if (slot === null) continue;
    runs = { ...runs, [entry.name]: { ...entry, slot: slot.id } };
    enqueue.cancel(`late/${entry.name}`);
    enqueue({
      type: 'tellRuns',
      params: { names: [entry.name], event: { type: 'slot.granted', device: slot.device } },
    });
  }
  enqueue.assign({ runs });
});
const tellAnew = base.assign({ told: null });
const settle = [reslot, publish];

/** Ends runs whose lease has ended: from now on beats do not name them. */
const drop = base.enqueueActions(({ enqueue, context, event }) => {
  const { reason } = event as { reason: string };
  const gone = event.type === 'runs.drop' ? names(context, event.jobIds) : Object.keys(context.runs);
  const entries = gone.map((name) => [name, { ...(context.runs[name] as RunEntry), dropped: true }] as const);
  enqueue.assign({ runs: { ...context.runs, ...Object.fromEntries(entries) } });
  enqueue({ type: 'tellRuns', params: { names: gone, event: { type: 'run.drop', reason } } });
});
const hasRoom = base.assign({ noRoom: [] });
const setNoRoom = base.assign({
  noRoom: ({ context, event }) => {
    const entry = context.runs[(event as Extract<RunsEvent, { type: 'run.noRoom' }>).run];
    return entry === undefined ? context.noRoom : list(context.noRoom, entry.assignment.service, true);
  },
});

const everyone = ({ context, event }: { context: Context; event: { type: string } }) => ({
  names: Object.keys(context.runs),
  event: { ...event },
});

const ofService = ({ context, event }: { context: Context; event: { type: string; service: string } }) => {
  const runs = Object.values(context.runs).filter((entry) => entry.assignment.service === event.service);
  return { names: runs.map((entry) => entry.name), event: { type: event.type } };
};

/** Runs whose slot lies on a card that is up, perhaps with an actor that has forgotten their permits. */
const onDevice = ({
  context,
  event,
}: {
  context: Context;
  event: Extract<RunsEvent, { type: 'device.usable' }>;
}) => {
  const slots = event.usable ? context.slots.filter((slot) => slot.device === event.device) : [];
  const ids = new Set(slots.map((slot) => slot.id));
  const runs = Object.values(context.runs).filter((entry) => entry.slot !== null && ids.has(entry.slot));
  return { names: runs.map((entry) => entry.name), event: { type: 'device.up' } };
};

/**
 * The desk of the running jobs: one child per lease, slots given and taken back, and the list that
 * beats name. Its children never restart: a run that ends takes its entry with it. Never left.
 */
export const runsChart = base.createMachine({
  id: 'runs',
  context: ({ input }) => ({
    ...input,
    runs: {},
    upServices: [],
    usableDevices: [],
    noRoom: [],
    told: null,
  }),
  initial: 'open',
  states: {
    open: {
      entry: 'rollCall',
      on: {
        // The claimer has counted the slot as taken: it must hear what became of it in any case.
        'runs.start': [
          { guard: 'known', actions: [tellAnew, publish] },
          { actions: [start, tellAnew, ...settle] },
        ],
        'run.phase': { actions: [setPhase, ...settle] },
        'run.nearEnd': { actions: [setNearEnd, publish] },
        'run.slotLate': {
          guard: 'slotless',
          actions: {
            type: 'tellRuns',
            params: ({ event }) => ({
              names: [event.run],
              event: { type: 'run.end', cause: { kind: 'release', reason: 'no slot came free in time' } },
            }),
          },
        },
        'xstate.done.actor.*': { actions: [forget, ...settle] },
        'xstate.error.actor.*': { actions: [bury, ...settle] },
        'runs.end': {
          actions: {
            type: 'tellRuns',
            params: ({ context, event }) => ({
              names: names(context, [event.jobId]),
              event: { type: 'run.end', cause: event.cause },
            }),
          },
        },
        'runs.drop': { actions: [drop, publish] },
        'runs.dropAll': { actions: [drop, publish] },
        'runs.drain': { actions: [assign({ draining: true }), publish] },
        'runs.releaseAll': {
          actions: {
            type: 'tellRuns',
            params: ({ context, event }) => ({
              names: Object.keys(context.runs),
              event: { type: 'run.end', cause: { kind: 'release', reason: event.reason } },
            }),
          },
        },
        'service.up': {
          actions: [
            assign({ upServices: ({ context, event }) => list(context.upServices, event.service, true) }),
            { type: 'tellRuns', params: ofService },
            ...settle,
          ],
        },
        'service.down': {
          actions: [
            assign({ upServices: ({ context, event }) => list(context.upServices, event.service, false) }),
            ...settle,
          ],
        },
        'service.ended': { actions: { type: 'tellRuns', params: ofService } },
        'device.usable': {
          actions: [
            assign({
              usableDevices: ({ context, event }) => list(context.usableDevices, event.device, event.usable),
            }),
            // Before anyone new is granted a slot there: they ask for their permits themselves.
            { type: 'tellRuns', params: onDevice },
            ...settle,
          ],
        },
        'link.online': { actions: { type: 'tellRuns', params: everyone } },
        'link.offline': {},
        'cache.up': { actions: [hasRoom, { type: 'tellRuns', params: everyone }, publish] },
        'disk.roomy': { actions: [hasRoom, publish] },
        'run.noRoom': { actions: [setNoRoom, publish] },
      },
    },
  },
  options: chartOptions,
});
