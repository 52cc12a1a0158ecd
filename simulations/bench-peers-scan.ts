import { Redis, type Result } from 'ioredis';
import {
  batchesOf,
  groupName,
  inLanes,
  jobsPerBatch,
  type Peer,
  type PeerJob,
  submitsAtOnce,
  workersAtOnce,
} from './bench-peers-load.ts';

declare module 'ioredis' {
  interface RedisCommander<Context> {
    scanAdd(
      pending: string,
      id: string,
      score: string,
      document: string,
      needs: string,
    ): Result<number, Context>;
    scanClaim(pending: string, active: string, capabilities: string): Result<string[] | null, Context>;
    scanEnd(active: string, id: string): Result<number, Context>;
  }
}

const pending = 'scan:pending';
const active = 'scan:active';

const addText = `
redis.call('HSET', 'scan:job:' .. ARGV[1], 'id', ARGV[1], 'payload', ARGV[3], 'requirements', ARGV[4], 'status', 'pending')
return redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])`;

/** From the front of the whole line: each job is read and judged until one fits. */
const claimText = `
local can = cjson.decode(ARGV[1])
local total, page = redis.call('ZCARD', KEYS[1]), 100
for from = 0, total - 1, page do
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], from, from + page - 1)) do
    local fields, job = redis.call('HGETALL', 'scan:job:' .. id), {}
    for at = 1, #fields, 2 do job[fields[at]] = fields[at + 1] end
    if can[cjson.decode(job.requirements).group] then
      redis.call('ZREM', KEYS[1], id)
      redis.call('HSET', 'scan:job:' .. id, 'status', 'assigned')
      redis.call('HSET', KEYS[2], id, job.requirements)
      return { id, job.payload }
    end
  end
end
return false`;

const endText = `
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('UNLINK', 'scan:job:' .. ARGV[1])`;

/**
 * What is usual where jobs have requirements: one line, and a script that walks it until a job fits the
 * worker. No lease, no fairness, no residency. Nothing is kept of an ended job.
 */
export function scanPeer(path: string): Peer {
  const redis = new Redis({ path });
  redis.defineCommand('scanAdd', { numberOfKeys: 1, lua: addText });
  redis.defineCommand('scanClaim', { numberOfKeys: 2, lua: claimText });
  redis.defineCommand('scanEnd', { numberOfKeys: 1, lua: endText });
  let jobs = 0;
  const fields = (job: PeerJob) => {
    const at = String(jobs++);
    return [`job-${at}`, at, JSON.stringify(job.payload), JSON.stringify({ group: job.group })] as const;
  };
  const enqueueBatches = async (many: PeerJob[]) => {
    for (const batch of batchesOf(many, jobsPerBatch)) {
      const pipeline = redis.pipeline();
      for (const job of batch) pipeline.scanAdd(pending, ...fields(job));
      const failed = (await pipeline.exec())?.find(([error]) => error !== null);
      if (failed) throw failed[0] as Error;
    }
  };
  return {
    name: 'scan',
    enqueueBatches,
    async enqueueSingles(many) {
      await inLanes(many.length, submitsAtOnce, async (index) => {
        await redis.scanAdd(pending, ...fields(many[index] as PeerJob));
      });
    },
    async prepare() {
      await redis.ping();
    },
    async rest() {
      // Its workers leave nothing behind.
    },
    async process(count, groups) {
      const names = Array.from({ length: groups }, (_, index) => [groupName(index), true]);
      const capabilities = JSON.stringify(Object.fromEntries(names));
      await inLanes(count, workersAtOnce, async () => {
        const claimed = await redis.scanClaim(pending, active, capabilities);
        if (claimed === null) throw new Error('the claim found nothing');
        JSON.parse(claimed[1] ?? '');
        await redis.scanEnd(active, claimed[0] ?? '');
      });
    },
    async close() {
      redis.disconnect();
    },
  };
}
