import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, type Rng, sleep } from '#protocol/env.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { checkHistory, type Verdict } from './checker.ts';
import { Cluster, type ClusterHost, type ClusterShape } from './cluster.ts';
import { collect, settled } from './collect.ts';
import type { Fault, Injected } from './fault.ts';
import { HistoryFile, historyFormat, readHistory } from './history.ts';
import { Load } from './load.ts';
import { appendOnly, singleRedis } from './redis-side.ts';
import { redisInfo } from './server-control.ts';

export interface RunOptions {
  fault: Fault;
  /** Number of this run, from 1. */
  run: number;
  seed: number;
  jobs: number;
  /** Folder for history and logs of this run. */
  outDir: string;
  clock: Clock;
  signal: AbortSignal;
  note: (text: string) => void;
}

/** Jobs a second that clients hand in: what two cores do beside servers, hubs, machines and the clients. */
const perSecond = 40;
/** One injection for so many jobs, at least one. */
const jobsPerInjection = 350;
/** From the last heal to the end of every job, at most; machines wait up to 30 s before they dial again. */
const settleLimitMs = 120_000;

const usualShape: ClusterShape = {
  hubs: 2,
  machines: 3,
  slots: 4,
  leaseTtlMs: 3_000,
  wires: [],
  // Commits wait for the disk, as in production.
  postgres: { durable: true },
};

/**
 * One run: a cluster of its own, a load, the fault at moments that the seed draws, the heal, the wait for
 * every job to end, and the check of the history. Rejects only where the run itself could not be made.
 */
export async function runFault(options: RunOptions): Promise<{ verdict: Verdict; history: string }> {
  const { fault, clock, signal } = options;
  const rng = seededRng(`${fault.name}/${options.seed}`);
  const path = join(options.outDir, 'history.jsonl');
  const history = new HistoryFile(path);
  const startedAtMs = clock.monotonic();
  const tMs = () => Math.round((clock.monotonic() - startedAtMs) * 1_000) / 1_000;
  const shape = { ...usualShape, ...fault.cluster };
  const dir = await mkdtemp(join(tmpdir(), 'emp-chaos-'));
  const host: ClusterHost = {
    clock,
    dir,
    logDir: options.outDir,
    rng: rng.fork('ports'),
    signal,
    onProcess: (name, action, detail) => {
      if (!ended) history.add({ kind: 'process', tMs: tMs(), name, action, detail });
    },
  };
  let ended = false;
  let cluster: Cluster | null = null;
  try {
    const openRedis = () => fault.redis?.(clock, dir) ?? singleRedis(appendOnly);
    history.add(metaLine(options, shape));
    cluster = await Cluster.start(shape, host, openRedis);
    const outcome = await play({ ...options, rng }, { cluster, history, tMs });
    for (const line of await collect(cluster, clock)) history.add(line);
    ended = true;
    history.end({ tMs: tMs(), atMs: clock.now(), ...outcome });
    return { verdict: checkHistory(readHistory(path)), history: path };
  } finally {
    ended = true;
    history.flush();
    await cluster?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function metaLine(
  { fault, run, seed, jobs, clock }: RunOptions,
  shape: ClusterShape,
): Parameters<HistoryFile['add']>[0] {
  const { hubs, machines, slots, leaseTtlMs, wires } = shape;
  return {
    kind: 'meta',
    format: historyFormat,
    fault: fault.name,
    run,
    seed,
    jobs,
    startedAtMs: clock.now(),
    versions: { emp: hubVersion, node: process.version },
    settings: { hubs, machines, slots, leaseTtlMs, perSecond, wires: [...wires] },
  };
}

interface Stage {
  cluster: Cluster;
  history: HistoryFile;
  tMs: () => number;
}

/** Load and faults side by side, then the wait for the end. */
async function play(
  options: RunOptions & { rng: Rng },
  stage: Stage,
): Promise<{ outcome: 'settled' | 'timeout'; detail: string }> {
  const { clock, rng, jobs } = options;
  const { cluster, history, tMs } = stage;
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  const [postgres] = await cluster.postgres.query('SHOW server_version');
  const redis = await redisInfo(cluster.redis.port, 'server', 'redis_version');
  const said = (action: 'inject' | 'heal' | 'note', number: number, detail: string) =>
    history.add({ kind: 'nemesis', tMs: tMs(), atMs: clock.now(), action, number, detail });
  said('note', 0, `redis ${redis}, postgresql ${String(postgres?.['server_version'])}`);
  const load = new Load({
    cluster,
    jobs,
    perSecond,
    rng: rng.fork('load'),
    clock,
    signal,
    tell: (line) => history.add({ kind: 'op', tMs: tMs(), ...line }),
  });
  try {
    await Promise.all([load.run(), faults({ ...options, signal }, { cluster, load, said })]);
  } catch (error) {
    // Where one of them cannot go on, the other must not either: its cluster is about to end.
    over.abort(error);
    throw error;
  }
  try {
    await settled(cluster, settleLimitMs);
    return { outcome: 'settled', detail: '' };
  } catch (error) {
    signal.throwIfAborted();
    return { outcome: 'timeout', detail: error instanceof Error ? error.message : String(error) };
  }
}

/** Injects at drawn moments of the load, one after the other; each is healed whatever happens. */
async function faults(
  options: RunOptions & { rng: Rng },
  stage: {
    cluster: Cluster;
    load: Load;
    said: (action: 'inject' | 'heal' | 'note', number: number, detail: string) => void;
  },
): Promise<void> {
  const { fault, clock, signal, jobs } = options;
  const { cluster, load, said } = stage;
  const count = Math.max(1, Math.round(jobs / jobsPerInjection));
  const rng = options.rng.fork('fault');
  for (let number = 1; number <= count; number++) {
    const own = rng.fork(`injection ${number}`);
    // Inside its own share of the load, and not before the first jobs are under way.
    const share = jobs / count;
    const at = Math.ceil((number - 1) * share + share * (0.15 + 0.35 * own.next()));
    while (load.submitted < at) await sleep(clock, 20, signal);
    const holdMs = own.int(fault.holdMs.min, fault.holdMs.max);
    const note = (detail: string) => said('note', number, detail);
    said('inject', number, `${fault.name} for ${holdMs} ms`);
    const injected: Injected = await fault.inject({ cluster, holdMs, rng: own, clock, signal, note });
    note(injected.detail);
    options.note(`run ${options.run}: after ${load.submitted} jobs: ${injected.detail}`);
    await sleep(clock, holdMs, signal);
    said('heal', number, await injected.heal());
    if (injected.restore !== undefined) note(await injected.restore());
  }
}
