import { Queue, Worker } from 'bullmq';
import {
  batchesOf,
  inLanes,
  jobsPerBatch,
  type Peer,
  type PeerJob,
  submitsAtOnce,
  workersAtOnce,
} from './bench-peers-load.ts';

const queueName = 'peers';
/** As completed jobs leave our index, they leave this queue. */
const options = { removeOnComplete: true, removeOnFail: true };

/**
 * BullMQ as its pages advise: one connection for what is sent, one worker process with a concurrency, which
 * fetches the next job with each completion, and nothing that is not asked for (progress, logs, metrics,
 * own ids). Its worker has a second connection to wait on. It has no capabilities to match.
 */
export function bullmqPeer(path: string): Peer {
  const connection = { path, maxRetriesPerRequest: null };
  const queue = new Queue(queueName, { connection });
  const parts = ({ payload }: PeerJob) => ({ name: 'job', data: payload, opts: options });
  let worker: Worker | null = null;
  return {
    name: 'bullmq',
    async prepare() {
      await queue.waitUntilReady();
      worker = new Worker(queueName, async () => undefined, {
        connection,
        autorun: false,
        concurrency: workersAtOnce,
      });
      await worker.waitUntilReady();
    },
    async enqueueBatches(jobs) {
      for (const batch of batchesOf(jobs, jobsPerBatch)) await queue.addBulk(batch.map(parts));
    },
    async enqueueSingles(jobs) {
      await inLanes(jobs.length, submitsAtOnce, async (index) => {
        await queue.add('job', (jobs[index] as PeerJob).payload, options);
      });
    },
    async process(count) {
      if (worker === null) throw new Error('the worker was not prepared');
      await ended(worker, count);
    },
    async rest() {
      await worker?.close();
      worker = null;
    },
    async close() {
      await worker?.close();
      await queue.close();
    },
  };
}

/** Runs a worker until it has completed so many jobs. */
async function ended(worker: Worker, count: number): Promise<void> {
  let left = count;
  await new Promise<void>((resolve, reject) => {
    worker.on('completed', () => {
      left--;
      if (left === 0) resolve();
    });
    worker.on('failed', (_job, error) => reject(error));
    worker.on('error', reject);
    worker.run().catch(reject);
  });
}
