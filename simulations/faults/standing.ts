import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Clock } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { hubVersion } from '#runtime/hub-version.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { buildOf } from './build.ts';
import { checkHistory, openSubmits, type Verdict } from './checker.ts';
import { Cluster, type ClusterHost, type ClusterShape, hubSettings } from './cluster.ts';
import { collect } from './collect.ts';
import type { Fault } from './fault.ts';
import { HistoryFile, type HistoryLine, historyFormat, type OpLine, readHistory } from './history.ts';
import { loadClients } from './load.ts';
import { appendOnly, singleRedis } from './redis-side.ts';
import type { Rest } from './rest.ts';
import { type PlayOptions, perSecond, play } from './run-fault.ts';
import { setAside } from './set-aside.ts';

export interface StandingOptions {
  fault: Fault;
  /** Histories go to `<outDir>/run-<n>/`, logs of a cluster to `<outDir>/cluster-<first run>/`. */
  outDir: string;
  /** A cluster for each run, instead of one for all of them. */
  fresh: boolean;
  clock: Clock;
  signal: AbortSignal;
}

/** What stands around a fault that asks for nothing else. */
export const usualShape: ClusterShape = {
  hubs: 2,
  machines: 3,
  slots: 16,
  leaseTtlMs: 3_000,
  wires: [],
  // Commits wait for the disk, as in production.
  postgres: { durable: true },
};

const shapeOf = (fault: Fault): ClusterShape => ({ ...usualShape, ...fault.cluster });

/** What the first line of a history says of how it was made; runs with equal settings belong together. */
export function settingsOf({ fault, fresh }: Pick<StandingOptions, 'fault' | 'fresh'>): JsonObject {
  const { hubs, machines, slots, leaseTtlMs, wires } = shapeOf(fault);
  const cluster = fresh ? 'a fresh one' : 'one that stands';
  const clients = loadClients;
  const hub = hubSettings(leaseTtlMs);
  return { hubs, machines, slots, leaseTtlMs, perSecond, clients, wires: [...wires], cluster, hub };
}

const numbered = (name: string, run: number) => `${name}-${String(run).padStart(3, '0')}`;

export const historyPath = (outDir: string, run: number) =>
  join(outDir, numbered('run', run), 'history.jsonl');

/** Job ids of a run, which tell it from the others on its cluster. */
const prefixOf = (run: number) => `chaos-${run}-`;

/** Servers, hubs and machines with all that the runs before have left in them. */
interface Site {
  cluster: Cluster;
  dir: string;
  from: number;
  runs: number[];
  afterSeq: number;
  afterOrdinal: number;
  /** Submits of runs before that nobody knows the end of. */
  open: OpLine[];
}

/**
 * Makes the runs of one fault, one after the other, on a cluster that stands: what one run leaves behind
 * the next one meets. After a run that was not clean, or when the fault's servers can hold no more, the
 * next one gets a fresh cluster.
 */
export class Standing {
  readonly #options: StandingOptions;
  #site: Site | null = null;
  #history: HistoryFile | null = null;
  #startedAtMs = 0;
  /** What the present cluster, or the next one, runs on. */
  #build = buildOf();

  constructor(options: StandingOptions) {
    this.#options = options;
  }

  /**
   * One run and the check of its history. A history of the same run that lies there already is set
   * aside. Rejects only when the signal aborts.
   */
  async run(
    options: Pick<PlayOptions, 'run' | 'seed' | 'jobs' | 'note'>,
  ): Promise<{ verdict: Verdict; history: string }> {
    const { clock, outDir } = this.#options;
    const path = historyPath(outDir, options.run);
    setAside(dirname(path));
    if (this.#site === null) this.#build = buildOf();
    const history = new HistoryFile(path);
    this.#history = history;
    this.#startedAtMs = clock.monotonic();
    try {
      history.add(this.#meta(options));
      await this.#make(history, options);
    } finally {
      this.#history = null;
      history.flush();
    }
    const lines = readHistory(path);
    const verdict = checkHistory(lines);
    await this.#leave(options.run, { ok: verdict.ok, lines });
    return { verdict, history: path };
  }

  /** Ends the cluster and removes its data; logs and histories stay. */
  async close(): Promise<void> {
    const site = this.#site;
    this.#site = null;
    if (site === null) return;
    await site.cluster.stop();
    await rm(site.dir, { recursive: true, force: true });
  }

  async #make(
    history: HistoryFile,
    options: Pick<PlayOptions, 'run' | 'seed' | 'jobs' | 'note'>,
  ): Promise<void> {
    const { fault, clock, signal } = this.#options;
    const end = (line: { outcome: 'settled' | 'timeout' | 'failed'; detail: string }) =>
      history.end({ tMs: this.#tMs(), atMs: clock.now(), ...line });
    try {
      const sinceMs = Math.floor(clock.now());
      const site = this.#site ?? (await this.#open(options.run));
      this.#site = site;
      const { open } = site;
      for (const line of open) this.#tell({ ...line, tMs: 0, client: 'earlier', outputs: line.outputs ?? 0 });
      const stage = {
        cluster: site.cluster,
        tellOp: (line: Omit<OpLine, 'kind' | 'tMs'>) => this.#tell({ kind: 'op', tMs: this.#tMs(), ...line }),
        tellNemesis: (line: { action: 'inject' | 'heal' | 'note'; number: number; detail: string }) =>
          this.#tell({ kind: 'nemesis', tMs: this.#tMs(), atMs: clock.now(), ...line }),
        tellRest: (rest: Rest) => this.#tell({ kind: 'rest', tMs: this.#tMs(), atMs: clock.now(), ...rest }),
      };
      const outcome = await play({ ...options, fault, prefix: prefixOf(options.run), clock, signal }, stage);
      const earlier = site.runs.map(prefixOf);
      const { lines, lastSeq, lastOrdinal } = await collect(site.cluster, {
        ...site,
        sinceMs,
        isEarlier: (jobId) => earlier.some((prefix) => jobId.startsWith(prefix)),
        openIds: open.map(({ jobId }) => jobId),
      });
      for (const line of lines) history.add(line);
      Object.assign(site, { afterSeq: lastSeq, afterOrdinal: lastOrdinal });
      end(outcome);
    } catch (error) {
      signal.throwIfAborted();
      end({
        outcome: 'failed',
        detail: (error instanceof Error ? error.message : String(error)).slice(0, 4_000),
      });
    }
  }

  /** What the next run finds, or that it finds nothing. */
  async #leave(run: number, { ok, lines }: { ok: boolean; lines: HistoryLine[] }): Promise<void> {
    const { fault, fresh } = this.#options;
    const site = this.#site;
    if (site === null) return;
    site.runs.push(run);
    site.open = openSubmits(lines);
    const isFull = site.runs.length >= (fault.runsPerCluster ?? Number.POSITIVE_INFINITY);
    if (fresh || !ok || isFull) await this.close();
  }

  async #open(run: number): Promise<Site> {
    const { fault, clock, signal, outDir } = this.#options;
    const dir = await mkdtemp(join(tmpdir(), 'emp-chaos-'));
    const logDir = join(outDir, numbered('cluster', run));
    setAside(logDir);
    const host: ClusterHost = {
      clock,
      dir,
      logDir,
      rng: seededRng(`${fault.name}/ports/${run}`),
      signal,
      onProcess: (name, action, detail) =>
        this.#tell({ kind: 'process', tMs: this.#tMs(), name, action, detail }),
    };
    try {
      const openRedis = () => fault.redis?.(clock, dir) ?? singleRedis(appendOnly);
      const cluster = await Cluster.start(shapeOf(fault), host, openRedis);
      return { cluster, dir, from: run, runs: [], afterSeq: 0, afterOrdinal: 0, open: [] };
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  #meta({ run, seed, jobs }: Pick<PlayOptions, 'run' | 'seed' | 'jobs'>): HistoryLine {
    const site = this.#site;
    return {
      kind: 'meta',
      format: historyFormat,
      fault: this.#options.fault.name,
      run,
      seed,
      jobs,
      startedAtMs: this.#options.clock.now(),
      clusterFrom: site?.from ?? run,
      runsBefore: site?.runs.length ?? 0,
      afterSeq: site?.afterSeq ?? 0,
      versions: { emp: hubVersion, node: process.version, ...this.#build },
      settings: settingsOf(this.#options),
    };
  }

  #tMs(): number {
    return Math.round((this.#options.clock.monotonic() - this.#startedAtMs) * 1_000) / 1_000;
  }

  /** Between runs nobody writes. */
  #tell(line: HistoryLine): void {
    this.#history?.add(line);
  }
}
