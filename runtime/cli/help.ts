import { BENCH_NAMES, benches } from './bench-list.ts';

/** What stands below the options of a command: only text, so that `--help` loads nothing. */

export const hubHelp = `
Stores, from the environment only:
  REDIS_URL         the broker in Redis, kept over restarts and shared by hubs; else in memory (docs/redis.md)
  DATABASE_URL      records in PostgreSQL, shared by hubs; needs REDIS_URL and --data; else SQLite in --data
                    (docs/postgres.md)
  EMP_DATA_DIR      as --data. Without both, jobs and files end with the process

Often set besides:
  EMP_LEASE_TTL_MS  how long a silent machine keeps its jobs (30000)
  EMP_ADVERTISE_URL where other hubs on the same stores reach this one
  EMP_HUB_ID        its name in records and logs
  EMP_LOG_LEVEL     debug, info, warn, error or silent

Every setting with its default: docs/hub.md
`;

export const machineHelp = `
From the environment:
  EMP_HUB_URL       hubs, separated by commas; else --hub, EMP_HUB, the one of emp dev
  EMP_JOIN_TOKEN    printed by emp machines token; hubs on loopback are asked for one where it is not set
  EMP_JOIN_TOKEN_FILE
                    a file that holds it
  EMP_SERVICES, EMP_POOL, EMP_MACHINE_ID, EMP_DATA_DIR
                    as --services, --pool, --id, --data
  EMP_DRAIN_MS      time for running jobs to end after SIGTERM (20000)
  EMP_LOG_LEVEL     debug, info, warn or error

Every setting with its default: docs/machine.md
`;

/** Each bench with what it measures, needs and takes. */
export function benchHelp(): string {
  const width = Math.max(...BENCH_NAMES.map((name) => name.length));
  const lines = BENCH_NAMES.map((name) => {
    const { measures, needs, takes } = benches[name];
    return `  ${name.padEnd(width)}  ${measures}; ${needs}; ${takes}`;
  });
  return `
Benches, with the servers that each needs and the time it takes on two cores:
${lines.join('\n')}

Servers are started by the bench on free ports: redis-server, and PostgreSQL 15 or newer, must be installed.
`;
}
