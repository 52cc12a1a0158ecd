import { setPriority } from 'node:os';
import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { failedMessage, type WorkerMessage, WorkerOrder } from './worker-messages.ts';

export interface WorkerProgress {
  fraction: number;
  message?: string;
  preview?: { mime: string; bytes: Uint8Array };
}

/** Tells the parent how far the order is; resolves once the message has left the process. */
export type ReportProgress = (progress: WorkerProgress) => Promise<void>;

export type WorkerMethod = (params: JsonObject, report: ReportProgress) => Promise<JsonValue>;

/** Workers give way to the loop that beats: on a full machine a late beat costs all its leases. */
const niceness = 5;

/**
 * Answers orders of the parent until the channel closes; then the process exits, so that a machine
 * that was killed leaves no worker behind. Methods run one after the other.
 */
export function serveWorker(methods: Record<string, WorkerMethod>): void {
  setPriority(niceness);
  let last: Promise<void> = Promise.resolve();
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message) => {
    last = last.then(() => answer(methods, message));
  });
  void send({ kind: 'ready' });
}

async function answer(methods: Record<string, WorkerMethod>, message: unknown): Promise<void> {
  const order = WorkerOrder.parse(message);
  try {
    const method = methods[order.method];
    if (method === undefined) throw new Error(`the worker has no method "${order.method}"`);
    const result = await method(order.params, (progress) =>
      send({ kind: 'progress', id: order.id, ...progress }),
    );
    await send({ kind: 'done', id: order.id, result });
  } catch (error) {
    await send(failedMessage(order.id, error));
  }
}

/** Waiting for the flush gives the event loop a turn between tiles, so that `disconnect` is seen. */
function send(message: WorkerMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    if (process.send === undefined)
      return reject(new Error('a worker runs only as a child process with an IPC channel'));
    process.send(message, undefined, undefined, (error) => (error ? reject(error) : resolve()));
  });
}
