import { join } from 'node:path';
import type { NewJob } from '#protocol/records.ts';
import { newTraceparent } from '#protocol/trace.ts';
import { systemClock } from '#runtime/env.ts';
import { HubConfig } from '#runtime/hub-config.ts';
import { openStores } from '#runtime/open-stores.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { newJob } from './bench/postgres-submits.ts';

/** Times what the hub's accept waits for in Records. */
export interface CommitProbe {
  /** Time of one accepted job's commit, ms. */
  commitMs(): Promise<number>;
  close(): Promise<void>;
}

/** A store of its own beside the hub's, on the same disk: a database of the same server, or a file in the same folder. */
export async function openCommitProbe(options: {
  dir: string;
  databaseUrl: string | null;
}): Promise<CommitProbe> {
  const env = quietEnv();
  const dataDir = join(options.dir, 'commit-probe');
  const config = HubConfig.parse({ dataDir, databaseUrl: options.databaseUrl });
  const { records, close } = await openStores({ config, env });
  return {
    async commitMs() {
      const job = wakeJob(env.newId('job'), newTraceparent(env.rng));
      const startMs = systemClock.monotonic();
      await records.submitJobs([job], env.clock.now());
      return systemClock.monotonic() - startMs;
    },
    close,
  };
}

/** The row that the submissions of this bench become. */
const wakeJob = (id: string, traceparent: string): NewJob =>
  newJob(id, traceparent, { expectedMs: 1, payload: { durationMs: 1 }, labels: { bench: 'wake' } });
