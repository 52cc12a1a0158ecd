import { createConnection } from 'node:net';
import { Redis } from 'ioredis';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { type BrokerPeer, brokerPeer } from './bench-peers-broker.ts';
import { type Cost, inLanes, Meter, peerJob, workersAtOnce } from './bench-peers-load.ts';

const groups = 8;

/** What claims cost as steps, and the same commands without Lua. */
export interface FloorRound {
  step: Cost;
  raw: Cost;
}

interface Side {
  server: RedisServer;
  peer: BrokerPeer;
  meter: Meter;
}

/**
 * Three servers go through the same claims. The first is listened to: it tells which commands the steps
 * make. The second runs the steps, the third gets the commands of each claim in one MULTI/EXEC, with the
 * arguments that the steps gave. A client could not do without Lua what this does: it knows all answers
 * beforehand.
 */
export async function measureFloor(options: {
  rounds: number;
  claims: number;
  signal: AbortSignal;
}): Promise<FloorRound[]> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const sides: Side[] = [];
    for (let at = 0; at < 3; at++) sides.push(await openSide((options.rounds + 2) * options.claims, closing));
    const [heard, stepped, raw] = sides as [Side, Side, Side];
    const redis = new Redis({ path: raw.server.path });
    closing.push(async () => redis.disconnect());
    const measured: FloorRound[] = [];
    // The first round warms the servers and is not counted.
    for (let round = 0; round <= options.rounds; round++) {
      options.signal.throwIfAborted();
      const steps = await commandsOf(heard.server.path, () => claims(heard.peer, options.claims));
      if (steps.length !== options.claims) throw new Error(`${steps.length} steps were heard`);
      const step = () => stepped.meter.cost(options.claims, () => claims(stepped.peer, options.claims));
      const replay = () => raw.meter.cost(options.claims, () => replayed(redis, steps));
      const isStepFirst = round % 2 === 0;
      const early = isStepFirst ? await step() : await replay();
      const late = isStepFirst ? await replay() : await step();
      const both = isStepFirst ? { step: early, raw: late } : { step: late, raw: early };
      if (round > 0) measured.push(both);
    }
    return measured;
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

async function openSide(jobs: number, closing: (() => Promise<unknown>)[]): Promise<Side> {
  const server = await RedisServer.start();
  closing.push(() => server.close());
  const peer = await brokerPeer(server.path);
  closing.push(() => peer.close());
  const meter = new Meter(server.path);
  closing.push(async () => meter.close());
  await peer.enqueueBatches(Array.from({ length: jobs }, (_, at) => peerJob(at, groups)));
  await peer.prepare();
  return { server, peer, meter };
}

async function claims(peer: BrokerPeer, count: number): Promise<void> {
  await inLanes(count, workersAtOnce, async (_index, machine) => {
    await peer.claim(machine, groups);
  });
}

async function replayed(redis: Redis, steps: readonly Command[][]): Promise<void> {
  await inLanes(steps.length, workersAtOnce, async (index) => {
    const multi = redis.multi();
    for (const [name, ...args] of steps[index] ?? []) multi.call(String(name), ...args);
    const failed = (await multi.exec())?.find(([error]) => error !== null);
    if (failed) throw failed[0] as Error;
  });
}

/** A command's name and arguments, bytes as they are. */
export type Command = Buffer[];

/** Commands that the steps of `work` made inside the server, step by step. */
async function commandsOf(path: string, work: () => Promise<void>): Promise<Command[][]> {
  const socket = createConnection({ path });
  const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  socket.on('error', (error) => {
    begun.reject(error);
    ended.reject(error);
  });
  const lines: string[] = [];
  let rest = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    const parts = `${rest}${text}`.split('\r\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      if (line === '+OK') begun.resolve();
      else if (line.endsWith(`"${endMark}"`)) ended.resolve();
      else lines.push(line);
    }
  });
  const other = new Redis({ path });
  try {
    socket.write('MONITOR\r\n');
    await begun.promise;
    await work();
    await other.echo(endMark);
    await ended.promise;
  } finally {
    other.disconnect();
    socket.destroy();
  }
  return stepsOf(lines);
}

const endMark = 'all claims were made';

/** Lines of MONITOR: `+time [0 source] "name" "argument" …`; those of a step follow its own. */
export function stepsOf(lines: readonly string[]): Command[][] {
  const steps: Command[][] = [];
  for (const line of lines) {
    const [, source = '', rest = ''] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
    if (/^"(fcall|evalsha)"/i.test(rest)) steps.push([]);
    else if (source === 'lua') steps.at(-1)?.push(argumentsOf(rest));
  }
  return steps;
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' };

function argumentsOf(text: string): Buffer[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, quoted = '']) =>
    Buffer.from(
      quoted.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_all, hex?: string, one?: string) =>
        hex === undefined ? (escapes[one ?? ''] ?? one ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
      ),
      'latin1',
    ),
  );
}
