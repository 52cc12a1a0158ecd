import { simulationConnector } from '#actors/connectors/simulation/simulation-connector.ts';
import type { Connector, ConnectorRun } from '#protocol/connector.ts';
import { systemClock } from '#runtime/env.ts';
import { quietEnv } from '#runtime/quiet-client.ts';
import { sharedClock } from './bench-wake-clock.ts';

/**
 * Loaded into each machine process of `bench-wake.ts` before anything else (`node --import`): the machine is
 * the one that ships, only the moment at which its connector is called goes to stdout, as a line
 * `bench.run JOB MS`.
 */
const runMark = 'bench.run';
const factory = simulationConnector();
const shipped = Object.getPrototypeOf(factory({ env: quietEnv(), workDir: '' })) as Connector;
const { run } = shipped;
const wallMs = sharedClock(systemClock);

shipped.run = function (this: Connector, job: ConnectorRun) {
  const atMs = wallMs();
  process.stdout.write(`${runMark} ${job.jobId} ${atMs}\n`);
  return run.call(this, job);
};
