/** What one bench measures, which servers it must find installed, and how long it takes on two cores. */
export interface BenchFacts {
  measures: string;
  needs: string;
  takes: string;
}

const noServer = 'no server';
const redis = 'redis-server';
const both = 'redis-server and PostgreSQL';

/** Every bench, in the order of docs/benchmarks.md. Light: `emp --help` loads it. */
export const benches = {
  startup: { measures: 'start and memory of a machine', needs: noServer, takes: 'about 1 minute' },
  recovery: {
    measures: 'jobs of killed machines',
    needs: `${noServer} (two hubs: ${both})`,
    takes: 'about 2 minutes',
  },
  busy: { measures: 'how busy one-second jobs keep a slot', needs: noServer, takes: 'about 2 minutes' },
  submit: {
    measures: 'submissions a second',
    needs: `${noServer} (two of its figures: PostgreSQL)`,
    takes: 'under a minute',
  },
  claim: { measures: 'a claim inside Redis', needs: redis, takes: 'about 2 minutes' },
  memory: { measures: 'memory of Redis for a job', needs: redis, takes: 'under a minute' },
  rebuild: { measures: 'a lost Redis filled again', needs: both, takes: 'about 2 minutes' },
  idle: { measures: 'what an idle fleet costs', needs: redis, takes: 'about 2 minutes' },
  sim: {
    measures: 'how fast days are simulated',
    needs: `${noServer} (hours on Redis: redis-server)`,
    takes: 'about 10 minutes',
  },
  peers: { measures: 'beside BullMQ and a scanned line', needs: redis, takes: 'about 2 minutes' },
  wake: {
    measures: 'submission to the call of the connector',
    needs: `${noServer} (on both stores: ${both})`,
    takes: 'about 2 minutes',
  },
  fair: { measures: 'a flood by one customer', needs: redis, takes: 'under a minute' },
} as const satisfies Record<string, BenchFacts>;
export type BenchName = keyof typeof benches;
export const BENCH_NAMES = Object.keys(benches) as BenchName[];
