import { findPostgres } from './postgres-server.ts';
import { findRedisServer } from './redis-server.ts';

/**
 * vitest calls this before the tests of a tier with servers. What is not installed is unpacked here,
 * where no limit of a test or a hook runs; want of it is told by the tests themselves.
 */
export function setup(): void {
  findRedisServer();
  findPostgres();
}
