import { afterEach, expect } from 'vitest';
import type { Broker } from '#protocol/broker.ts';
import { brokerSettings, entryOf } from '#protocol/broker-fixture.conformance.ts';
import { systemClock } from '#runtime/env.ts';
import type { RedisServer } from '#runtime/toolchain/redis-server.ts';
import { openRedisBroker, type RedisBroker, type RedisBrokerOptions } from './redis-broker.ts';
import { command } from './setup.conformance.ts';

const open: Broker[] = [];
/** Servers of the present test, closed after it. */
export const servers: RedisServer[] = [];
afterEach(async () => {
  for (const broker of open.splice(0)) await broker.close();
  for (const server of servers.splice(0)) await server.close();
});

/** A client on the server's own time, closed after the test. */
export async function connect(
  server: RedisServer,
  over: Partial<RedisBrokerOptions> = {},
): Promise<RedisBroker> {
  const broker = await openRedisBroker({
    url: { path: server.path },
    settings: brokerSettings,
    clock: systemClock,
    ...over,
  });
  open.push(broker);
  return broker;
}

/** An open Broker with a machine that serves g1. */
export async function ready(
  server: RedisServer,
  over: Partial<RedisBrokerOptions> = {},
): Promise<RedisBroker> {
  await command(server, 'FLUSHALL');
  const broker = await connect(server, over);
  await reconcile(broker);
  await broker.enrol(m1);
  return broker;
}

export async function reconcile(broker: Broker): Promise<void> {
  const ticket = await broker.reconcileStart({ nonce: 'n' });
  expect(await broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
}

export async function submit(broker: Broker, ...jobIds: string[]): Promise<unknown> {
  const { identity } = await broker.identity();
  return await broker.submit({ identity, entries: jobIds.map((jobId) => entryOf(jobId)) });
}

export const m1 = { machineId: 'm1', incarnation: 1 };

export async function claim(broker: Broker, requestId: number, over: object = {}) {
  const groups = [{ group: 'g1', penaltyMs: 0 }];
  return await broker.claim({ ...m1, requestId, groups, warmLanes: [], classId: 'c1', ...over });
}

export function beat(broker: Broker, running: { jobId: string; token: string }[]) {
  return broker.beat({ ...m1, running, highestRequestId: 1, openRequestId: null, groups: [], classId: 'c1' });
}
