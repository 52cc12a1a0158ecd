import type { Redis } from 'ioredis';

/** Every key with its value, as the server itself writes them. */
export async function dumpAll(redis: Redis): Promise<[string, Buffer][]> {
  const keys = await redis.keys('*');
  return await Promise.all(
    keys.map(async (key): Promise<[string, Buffer]> => {
      const dump = await redis.dumpBuffer(key);
      if (dump === null) throw new Error(`${key} is gone`);
      return [key, dump];
    }),
  );
}

/** Writes what `dumpAll` read; the keys must not be there. */
export async function restoreAll(redis: Redis, dumps: readonly [string, Buffer][]): Promise<void> {
  for (const [key, dump] of dumps) await redis.restore(key, 0, dump);
}
