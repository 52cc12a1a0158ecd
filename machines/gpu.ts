import { assign, setup } from 'xstate';
import type { GpuDevice, GpuReading } from '#protocol/gpus.ts';
import { chartOptions } from './chart-options.ts';
import { safeSend } from './safe-send.ts';
import { unprovided } from './unprovided.ts';

export interface GpuSettings {
  /** Between two readings while the card is well, ms. */
  readEveryMs: number;
  /** Between two readings while it is not, ms. */
  retryEveryMs: number;
  /** Failed readings in a row after which a suspect card is lost. */
  lostAfter: number;
  /** Memory that no permit may use, MiB. */
  reserveMb: number;
}

export interface GpuInput {
  device: GpuDevice;
  settings: GpuSettings;
}

type GpuEvent =
  /** A run asks to use the card; `memoryMb` is what its models need, if known. Answered by `permit.granted`. */
  | { type: 'permit.ask'; run: string; memoryMb?: number }
  | { type: 'permit.release'; run: string }
  /** The desk of the runs is new and knows of nothing. */
  | { type: 'roll.call' };

interface Permit {
  run: string;
  memoryMb: number;
}

interface Context extends GpuInput {
  /** Granted, in order. */
  permits: Permit[];
  /** Not yet granted, oldest first. */
  waiting: Permit[];
  reading: GpuReading | null;
  failures: number;
}

/** Room for one more: an empty card takes any job, a shared one only what fits beside the others. */
export function permitFits(options: {
  memoryMb: number;
  reserveMb: number;
  permits: readonly Permit[];
  asked: number;
}): boolean {
  if (options.permits.length === 0) return true;
  const used = options.permits.reduce((sum, permit) => sum + permit.memoryMb, 0);
  return used + options.asked <= options.memoryMb - options.reserveMb;
}

const base = setup({
  types: { context: {} as Context, input: {} as GpuInput, events: {} as GpuEvent },
  actors: { read: unprovided<GpuReading, { uuid: string }>() },
  actions: {
    tell: safeSend,
    grant: ({ system, self }, { runs }: { runs: string[] }) => {
      for (const run of runs) safeSend({ system, self }, { to: run, event: { type: 'permit.granted' } });
    },
  },
  guards: {
    busy: ({ context }) => context.permits.length > 0,
    gone: ({ context }) => context.failures >= context.settings.lostAfter,
  },
  delays: {
    readEveryMs: ({ context }) => context.settings.readEveryMs,
    retryEveryMs: ({ context }) => context.settings.retryEveryMs,
  },
});

const without = (permits: Permit[], run: string) => permits.filter((permit) => permit.run !== run);

/** Grants from the head of the line while it fits: a big job is not overtaken for ever by small ones. */
const serve = base.enqueueActions(({ enqueue, context }) => {
  const { device, settings } = context;
  const permits = [...context.permits];
  const waiting = [...context.waiting];
  for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
    if (
      !permitFits({ memoryMb: device.memoryMb, reserveMb: settings.reserveMb, permits, asked: next.memoryMb })
    )
      break;
    permits.push(next);
    waiting.shift();
  }
  if (permits.length === context.permits.length) return;
  enqueue.assign({ permits, waiting });
  enqueue({ type: 'grant', params: { runs: permits.slice(context.permits.length).map(({ run }) => run) } });
});

/** Takes a place in the line; a run that has its permit already, asking after a restart of its own view, keeps it. */
const enter = base.enqueueActions(({ enqueue, context, event }) => {
  const { run, memoryMb = 0 } = event as Extract<GpuEvent, { type: 'permit.ask' }>;
  const at = context.permits.findIndex((permit) => permit.run === run);
  if (at !== -1) enqueue({ type: 'grant', params: { runs: [run] } });
  else enqueue.assign({ waiting: [...without(context.waiting, run), { run, memoryMb }] });
});

const leave = base.assign(({ context, event }) => {
  const { run } = event as Extract<GpuEvent, { type: 'permit.release' }>;
  return { permits: without(context.permits, run), waiting: without(context.waiting, run) };
});

const usable = (value: boolean) => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: 'runs',
    event: { type: 'device.usable', device: context.device.uuid, usable: value },
  }),
});
const problem = (type: 'machine.degraded' | 'machine.recovered', detail: string) => ({
  type: 'tell' as const,
  params: ({ context }: { context: Context }) => ({
    to: 'supervisor',
    event: { type, reason: `gpu/${context.device.uuid}`, detail: `${context.device.name} ${detail}` },
  }),
});

/**
 * One card, or the CPU of a machine without any. `probing` and the readings of `idle` and `busy` ask
 * the driver; one failure makes it `suspect` (running work goes on, nothing new is offered), several
 * make it `lost`; each reading that answers brings it back. A permit is what makes a slot's work run.
 */
export const gpuChart = base.createMachine({
  id: 'gpu',
  context: ({ input }) => ({ ...input, permits: [], waiting: [], reading: null, failures: 0 }),
  on: {
    'permit.ask': { actions: enter },
    'permit.release': { actions: leave },
    'roll.call': {},
  },
  // A card whose actor was restarted is not offered before it has answered.
  entry: usable(false),
  initial: 'probing',
  states: {
    probing: {
      invoke: {
        id: 'read',
        src: 'read',
        input: ({ context }) => ({ uuid: context.device.uuid }),
        onDone: {
          target: 'usable',
          actions: [
            assign({ reading: ({ event }) => event.output, failures: 0 }),
            problem('machine.recovered', 'answers'),
          ],
        },
        onError: { target: 'suspect', actions: assign({ failures: ({ context }) => context.failures + 1 }) },
      },
    },
    usable: {
      entry: [usable(true), serve],
      exit: usable(false),
      type: 'parallel',
      on: {
        'permit.ask': { actions: [enter, serve] },
        'permit.release': { actions: [leave, serve] },
        'roll.call': { actions: usable(true) },
      },
      states: {
        load: {
          initial: 'idle',
          states: {
            idle: { always: { guard: 'busy', target: 'busy' } },
            busy: { always: { guard: ({ context }) => context.permits.length === 0, target: 'idle' } },
          },
        },
        readings: {
          initial: 'resting',
          states: {
            resting: { after: { readEveryMs: 'reading' } },
            reading: {
              invoke: {
                id: 'reread',
                src: 'read',
                input: ({ context }) => ({ uuid: context.device.uuid }),
                onDone: { target: 'resting', actions: assign({ reading: ({ event }) => event.output }) },
                onError: { target: '#gpu.suspect', actions: assign({ failures: 1 }) },
              },
            },
          },
        },
      },
    },
    suspect: {
      entry: problem('machine.degraded', 'does not answer'),
      always: { guard: 'gone', target: 'lost' },
      after: { retryEveryMs: 'probing' },
    },
    lost: {
      entry: problem('machine.degraded', 'is lost'),
      after: { readEveryMs: 'probing' },
    },
  },
  options: chartOptions,
});
