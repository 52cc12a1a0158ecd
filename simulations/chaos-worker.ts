import { parentPort, workerData } from 'node:worker_threads';
import { type PostgresServer, startPostgres } from '#runtime/toolchain/postgres-server.ts';
import { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { type ChaosReport, type PlayOptions, playScript } from './chaos.ts';
import { type ChaosScript, chaosTtlMs } from './chaos-script.ts';
import { type Breach, shrinkScript } from './chaos-shrink.ts';
import { serverStores } from './stores-servers.ts';

/** What a worker is asked for; the answer bears the same number. */
export type WorkerTask =
  /** `elsewhere`: on servers that no other run of this worker has touched. */
  | { number: number; kind: 'play'; script: ChaosScript; elsewhere: boolean }
  | { number: number; kind: 'shrink'; script: ChaosScript; breach: Breach; triesLimit: number };
export type WorkerAnswer = { number: number } & (
  | { report: ChaosReport }
  | { smaller: ChaosScript; tries: number; report: ChaosReport }
  | { error: string }
);

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

async function work(task: WorkerTask): Promise<WorkerAnswer> {
  const { number } = task;
  const play = await storesOf({ elsewhere: task.kind === 'play' && task.elsewhere });
  if (task.kind === 'play') return { number, report: await playScript(task.script, play) };
  const { breach, triesLimit } = task;
  const { script, tries } = await shrinkScript(task.script, breach, { triesLimit, play });
  return { number, smaller: script, tries, report: await playScript(script, play) };
}

parentPort?.on('message', (task: WorkerTask | 'end') => {
  if (task === 'end') {
    void closeServers().finally(() => parentPort?.close());
    return;
  }
  work(task).then(
    (answer) => parentPort?.postMessage(answer),
    (error: unknown) =>
      parentPort?.postMessage({ number: task.number, error: (error as Error).stack ?? String(error) }),
  );
});
