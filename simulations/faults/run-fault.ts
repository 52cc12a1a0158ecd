import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import type { Cluster } from './cluster.ts';
import { settled } from './collect.ts';
import type { Fault } from './fault.ts';
import type { NemesisLine, OpLine } from './history.ts';
import { Load } from './load.ts';
import { type Rest, untilAtRest } from './rest.ts';
import { redisInfo } from './server-control.ts';
import { whole } from './whole.ts';

export interface PlayOptions {
  fault: Fault;
  /** Number of this run, from 1. */
  run: number;
  seed: number;
  jobs: number;
  /** Job ids of this run begin with it. */
  prefix: string;
  clock: Clock;
  signal: AbortSignal;
  note: (text: string) => void;
}

/** Where a run takes place, and who writes down what happens. */
export interface Stage {
  cluster: Cluster;
  tellOp: (line: Omit<OpLine, 'kind' | 'tMs'>) => void;
  tellNemesis: (line: Pick<NemesisLine, 'action' | 'number' | 'detail'>) => void;
  tellRest: (rest: Rest) => void;
}

/** Jobs a second that clients hand in: what two cores do beside servers, hubs, machines and the clients. */
export const perSecond = 120;
/** One injection for so many jobs, at least one. */
const jobsPerInjection = 350;
/** Of the jobs that are left of an injection's share, what is handed in while the fault is held. */
const heldShare = 0.7;
/** A fault lasts longer than it is held: it is made and healed as well. */
const aroundHoldMs = 1_000;
/** From the last heal to the end of every job, at most; machines wait up to 30 s before they dial again. */
const settleLimitMs = 120_000;

/**
 * One run on a cluster that stands: a load, the fault at moments that the seed draws, the heal, the wait
 * for every job to end, for every part to stand again and for the stores to be at rest. Rejects where the run could not be made.
 */
export async function play(
  options: PlayOptions,
  stage: Stage,
): Promise<{ outcome: 'settled' | 'timeout'; detail: string }> {
  const { clock, jobs, prefix } = options;
  const { cluster } = stage;
  const rng = seededRng(`${options.fault.name}/${options.seed}`);
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  const [postgres] = await cluster.postgres.query('SHOW server_version');
  const redis = await redisInfo(cluster.redis.port, 'server', 'redis_version');
  const versions = `redis ${redis}, postgresql ${String(postgres?.['server_version'])}`;
  stage.tellNemesis({ action: 'note', number: 0, detail: versions });
  const tell = stage.tellOp;
  const load = new Load({ cluster, jobs, prefix, rng: rng.fork('load'), clock, signal, tell });
  try {
    await Promise.all([
      load.run(),
      faults({ ...options, signal }, { ...stage, load, rng: rng.fork('fault') }),
    ]);
  } catch (error) {
    // Where one of them cannot go on, the other must not either: its cluster is about to end.
    over.abort(error);
    throw error;
  }
  try {
    await settled(cluster, settleLimitMs);
    await whole(cluster, settleLimitMs);
    stage.tellRest(await untilAtRest(cluster, { prefix }));
    return { outcome: 'settled', detail: '' };
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: 'timeout', detail: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Injects at drawn moments of the load, one after the other. Each has a share of the jobs: some come
 * before it, most while it is held, the rest when it is healed, so that a load that is over quickly meets
 * every injection.
 */
async function faults(options: PlayOptions, stage: Stage & { load: Load; rng: Rng }): Promise<void> {
  const { fault, clock, signal, jobs } = options;
  const { load, rng } = stage;
  const count = Math.max(1, Math.round(jobs / jobsPerInjection));
  const share = jobs / count;
  for (let number = 1; number <= count; number++) {
    const own = rng.fork(`injection ${number}`);
    const at = Math.ceil((number - 1) * share + share * (0.15 + 0.35 * own.next()));
    load.pace.set({ perSecond, upTo: at });
    while (load.submitted < at) await sleep(clock, 20, signal);
    const holdMs = own.int(fault.holdMs.min, fault.holdMs.max);
    const held = Math.floor(heldShare * (number * share - at));
    const during = (held * 1_000) / (holdMs + aroundHoldMs);
    load.pace.set({ perSecond: Math.min(perSecond, Math.max(1, during)), upTo: at + held });
    const restore = await inject({ ...options, number, holdMs, rng: own }, stage);
    load.pace.set({ perSecond, upTo: Math.floor(number * share) });
    await restore();
  }
  load.pace.set({ perSecond, upTo: jobs });
}

/** One injection, held and healed; answers how to restore what stood by before. */
async function inject(
  options: PlayOptions & { number: number; holdMs: number; rng: Rng },
  { cluster, load, tellNemesis }: Stage & { load: Load },
): Promise<() => Promise<void>> {
  const { fault, clock, signal, number, holdMs, rng } = options;
  const said = (action: 'inject' | 'heal' | 'note', detail: string) =>
    tellNemesis({ action, number, detail });
  const note = (detail: string) => said('note', detail);
  said('inject', `${fault.name} for ${holdMs} ms`);
  const injected = await fault.inject({ cluster, holdMs, rng, clock, signal, note });
  note(injected.detail);
  options.note(`run ${options.run}: after ${load.submitted} jobs: ${injected.detail}`);
  try {
    await sleep(clock, holdMs, signal);
  } catch (error) {
    // Nothing may be left paused or cut: its processes could not be ended.
    await injected.heal();
    throw error;
  }
  said('heal', await injected.heal());
  return async () => {
    if (injected.restore !== undefined) note(await injected.restore());
  };
}
