// `node runtime/toolchain/run-redis-matrix.ts`: the Redis suite on the further servers that apt has.
import { redisMatrix } from './redis-matrix.ts';
import { TestRun } from './test-run.ts';

const run = new TestRun();
await redisMatrix(run, []);
run.end();
