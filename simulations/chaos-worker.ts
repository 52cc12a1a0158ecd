import { parentPort, workerData } from 'node:worker_threads';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { type ChaosReport, type PlayOptions, playScript } from './chaos.ts';
import { type ChaosScript, chaosTtlMs } from './chaos-script.ts';
import { type Breach, shrinkScript } from './chaos-shrink.ts';
import { serverStores } from './stores-servers.ts';
import type { Numbered, PoolAnswer } from './worker-pool.ts';

/** What a worker is asked for. */
export type ChaosTask =
  /** `elsewhere`: on servers that no other run of this worker has touched. */
  | { kind: 'play'; script: ChaosScript; elsewhere: boolean }
  | { kind: 'shrink'; script: ChaosScript; breach: Breach; triesLimit: number };
export type ChaosAnswer =
  | { report: ChaosReport }
  | { smaller: ChaosScript; tries: number; report: ChaosReport };

export interface WorkerStores {
  broker: 'memory' | 'redis';
  records: 'sqlite' | 'postgres';
}

const wanted = workerData as WorkerStores;
let redis: RedisServer | null = null;
let postgres: PostgresServer | null = null;

async function storesOf(options: { elsewhere: boolean }): Promise<Pick<PlayOptions, 'stores'>> {
  if (wanted.broker === 'memory' && wanted.records === 'sqlite') return {};
  if (options.elsewhere) await closeServers();
  if (wanted.broker === 'redis') redis ??= await RedisServer.start();
  if (wanted.records === 'postgres') postgres ??= await startPostgres();
  const servers = { ...(redis ? { redis } : {}), ...(postgres ? { postgres } : {}) };
  return { stores: serverStores({ leaseTtlMs: chaosTtlMs, ...servers, losses: ['flush', 'restart'] }) };
}

async function closeServers(): Promise<void> {
  await redis?.close();
  await postgres?.close();
  redis = null;
  postgres = null;
}

async function work(task: ChaosTask): Promise<ChaosAnswer> {
  const play = await storesOf({ elsewhere: task.kind === 'play' && task.elsewhere });
  if (task.kind === 'play') return { report: await playScript(task.script, play) };
  const { breach, triesLimit } = task;
  const { script, tries } = await shrinkScript(task.script, breach, { triesLimit, play });
  return { smaller: script, tries, report: await playScript(script, play) };
}

parentPort?.on('message', (task: (ChaosTask & Numbered) | 'end') => {
  if (task === 'end') {
    void closeServers().finally(() => parentPort?.close());
    return;
  }
  const { number } = task;
  const answer = (value: PoolAnswer<ChaosAnswer>) => parentPort?.postMessage(value);
  work(task).then(
    (done) => answer({ number, answer: done }),
    (error: unknown) => answer({ number, error: (error as Error).stack ?? String(error) }),
  );
});
