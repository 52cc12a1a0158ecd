import type { BenchHost, BenchReport } from '#runtime/cli/bench.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { benchEnv, figure } from './bench/bench-fleet.ts';
import { hubPeer } from './bench-peers-broker.ts';
import { bullmqPeer } from './bench-peers-bullmq.ts';
import { measureFloor } from './bench-peers-floor.ts';
import { type Cost, groupName, Meter, median, type Peer, peerJob } from './bench-peers-load.ts';
import { scanPeer } from './bench-peers-scan.ts';

const roundsFull = 9;
const jobsFull = 5_000;
/** Groups of the second half of each round: the most that a claim may name. */
const manyGroups = 32;
const fewGroups = 8;
/** Of `otherJobs`: jobs at the front of the line that none of the present workers can run. */
const blockersFull = 1_000;
const claimsPerRound = 1_000;

const phases = ['enqueue', 'process', 'enqueueSingle', 'process32Groups'] as const;
type Phase = (typeof phases)[number];
type Costs = Partial<Record<Peer['name'], Cost>>;

/**
 * Our Broker, BullMQ and a scanned line take turns on one private Redis, without persistence and then with
 * an append-only file that is flushed every second. Every ratio is of two phases that followed each other
 * directly; who begins changes from round to round.
 */
export async function run(host: BenchHost): Promise<BenchReport> {
  const rounds = Math.max(3, Math.round(roundsFull * host.scale));
  const jobs = Math.max(200, Math.round(jobsFull * host.scale));
  const memory = await onServer(host, { aof: false, rounds, jobs });
  const aof = await onServer(host, { aof: true, rounds, jobs });
  host.note(`${rounds} rounds of claims as steps and as their commands in one MULTI/EXEC`);
  const claims = Math.max(100, Math.round(claimsPerRound * host.scale));
  const floor = await measureFloor({ rounds, claims, signal: host.signal });
  const ratio = (of: Measured, phase: Phase) => median(ratiosOf(of.rounds, phase, 'bullmq'));
  return {
    bench: 'peers',
    figures: {
      enqueueRatio: figure(ratio(memory, 'enqueue'), 'x', { atLeast: 1.5 }),
      processRatio: figure(ratio(memory, 'process'), 'x', { atLeast: 1.3 }),
      processRatio32Groups: figure(ratio(memory, 'process32Groups'), 'x', { atLeast: 1 }),
      enqueueRatioAof: figure(ratio(aof, 'enqueue'), 'x', { atLeast: 1.5 }),
      processRatioAof: figure(ratio(aof, 'process'), 'x', { atLeast: 1.3 }),
      floorRatio: figure(median(floor.map(({ step, raw }) => step.redisUs / raw.redisUs)), 'x', {
        atMost: 1.5,
      }),
    },
    rows: [
      ...rowsOf(memory),
      ...rowsOf(aof),
      row({
        aof: false,
        phase: 'claim (bullmq: MULTI)',
        rounds: floor.map(({ step, raw }) => ({ ours: step, bullmq: raw })),
      }),
    ],
    env: { ...benchEnv(), redis: memory.version },
  };
}

interface Measured {
  aof: boolean;
  version: string;
  rounds: Record<Phase, Costs>[];
  /** Behind jobs that nobody here can run. */
  blocked: Costs[];
}

async function onServer(
  host: BenchHost,
  options: { aof: boolean; rounds: number; jobs: number },
): Promise<Measured> {
  const { aof, jobs } = options;
  const args = aof ? ['--appendonly', 'yes', '--appendfsync', 'everysec'] : [];
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const server = await RedisServer.start({ args });
    closing.push(() => server.close());
    const meter = new Meter(server.path);
    closing.push(async () => meter.close());
    const peers: Peer[] = [bullmqPeer(server.path), await hubPeer(server.path), scanPeer(server.path)];
    for (const peer of peers) closing.push(() => peer.close());
    const rounds: Measured['rounds'] = [];
    const blocked: Costs[] = [];
    // The first round warms the server and this process and is not counted.
    for (let round = 0; round <= options.rounds; round++) {
      host.signal.throwIfAborted();
      host.note(`round ${round} of ${options.rounds}, ${jobs} jobs${aof ? ', append-only file' : ''}`);
      const order = round % 2 === 0 ? peers : [...peers].reverse();
      const measured = await playRound(order, { jobs, meter });
      const behind = aof ? {} : await playBlocked(order, { jobs, meter, scale: host.scale });
      if (round === 0) continue;
      rounds.push(measured);
      if (!aof) blocked.push(behind);
    }
    return { aof, version: await meter.version(), rounds, blocked };
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** Each phase for all peers before the next: what is compared lies within a second or two. */
async function playRound(
  peers: readonly Peer[],
  { jobs, meter }: { jobs: number; meter: Meter },
): Promise<Record<Phase, Costs>> {
  const costs: Record<Phase, Costs> = { enqueue: {}, process: {}, enqueueSingle: {}, process32Groups: {} };
  const many = (groups: number) => Array.from({ length: jobs }, (_, at) => peerJob(at, groups));
  const each = async (phase: Phase, work: (peer: Peer) => Promise<void>) => {
    for (const peer of peers) {
      const isWork = phase.startsWith('process');
      if (isWork) await peer.prepare();
      costs[phase][peer.name] = await meter.cost(jobs, () => work(peer));
      if (isWork) await peer.rest();
    }
  };
  const [few, more] = [many(fewGroups), many(manyGroups)];
  await each('enqueue', (peer) => peer.enqueueBatches(few));
  await each('process', (peer) => peer.process(jobs, fewGroups));
  await each('enqueueSingle', (peer) => peer.enqueueSingles(more));
  await each('process32Groups', (peer) => peer.process(jobs, manyGroups));
  return costs;
}

/** A tenth of the jobs, behind others that came before and fit no present worker: BullMQ would need a queue for each kind. */
async function playBlocked(
  peers: readonly Peer[],
  { jobs, meter, scale }: { jobs: number; meter: Meter; scale: number },
): Promise<Costs> {
  const costs: Costs = {};
  const blockers = Math.round(blockersFull * scale);
  const count = Math.round(jobs / 10);
  const foreign = Array.from({ length: blockers }, (_, at) => ({
    ...peerJob(at, fewGroups),
    group: groupName(manyGroups - 1),
  }));
  const fit = Array.from({ length: count }, (_, at) => peerJob(at, fewGroups));
  for (const peer of peers) {
    if (peer.name === 'bullmq') continue;
    await peer.enqueueBatches(foreign);
    await peer.enqueueBatches(fit);
    await peer.prepare();
    costs[peer.name] = await meter.cost(count, () => peer.process(count, fewGroups));
    await peer.process(blockers, manyGroups);
    await peer.rest();
  }
  return costs;
}

function ratiosOf(rounds: readonly Record<Phase, Costs>[], phase: Phase, other: Peer['name']): number[] {
  return ratios(
    rounds.map((round) => round[phase]),
    other,
  );
}

function ratios(rounds: readonly Costs[], other: Peer['name']): number[] {
  return rounds.flatMap(({ ours, ...rest }) => {
    const theirs = other === 'ours' ? undefined : rest[other];
    return ours === undefined || theirs === undefined ? [] : [ours.perSecond / theirs.perSecond];
  });
}

function rowsOf({ aof, rounds, blocked }: Measured): BenchReport['rows'] {
  const rows = phases.map((phase) => row({ aof, phase, rounds: rounds.map((round) => round[phase]) }));
  return aof ? rows : [...rows, row({ aof, phase: 'processBlocked', rounds: blocked })];
}

/** Medians of all rounds; of the ratios to BullMQ the smallest and the largest as well. */
function row(options: {
  aof: boolean;
  phase: string;
  rounds: readonly Costs[];
}): BenchReport['rows'][number] {
  const { aof, phase, rounds } = options;
  const of = (name: Peer['name'], what: keyof Cost) => {
    const values = rounds.flatMap((round) => (round[name] === undefined ? [] : [round[name][what]]));
    return values.length === 0 ? null : Math.round(median(values));
  };
  const spread = ratios(rounds, 'bullmq').map((value) => Math.round(value * 100) / 100);
  return {
    phase,
    aof,
    bullmqPerSecond: of('bullmq', 'perSecond'),
    oursPerSecond: of('ours', 'perSecond'),
    scanPerSecond: of('scan', 'perSecond'),
    ratio: spread.length === 0 ? null : median(spread),
    spread: spread.length === 0 ? null : `${Math.min(...spread)} to ${Math.max(...spread)}`,
    bullmqRedisUs: of('bullmq', 'redisUs'),
    oursRedisUs: of('ours', 'redisUs'),
    scanRedisUs: of('scan', 'redisUs'),
    bullmqNodeUs: of('bullmq', 'nodeUs'),
    oursNodeUs: of('ours', 'nodeUs'),
  };
}
