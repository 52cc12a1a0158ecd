import { type BrokerUnderTest, brokerSettings } from '#protocol/broker-fixture.conformance.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { type BrokerMark, type MemoryServer, memoryBroker, memoryServer } from './memory-broker.ts';

export interface MemoryUnderTest extends BrokerUnderTest {
  server: MemoryServer;
  clock: VirtualClock;
}

/** A memory Broker on a virtual clock, as the suites want it. */
export async function memorySetup(): Promise<MemoryUnderTest> {
  const clock = new VirtualClock();
  const server = memoryServer({ settings: brokerSettings, clock, name: 'server' });
  const broker = memoryBroker(server);
  return {
    server,
    clock,
    broker,
    connect: async () => memoryBroker(server),
    now: async () => clock.now(),
    advance: (ms) => clock.advanceBy(ms),
    restart: async () => server.restart(),
    loseAll: async () => server.loseAll(),
    mark: async () => server.mark(),
    rollback: async (mark) => server.rollback(mark as BrokerMark),
    close: () => broker.close(),
  };
}
