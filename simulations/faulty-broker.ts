import type { Broker } from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import { PortFaults } from './port-faults.ts';
import { type PortLayer, withLayers } from './port-layer.ts';

export type BrokerFaults = PortFaults<keyof Broker>;

export function brokerFaults(clock: Clock): BrokerFaults {
  return new PortFaults({ clock, code: 'BROKER_UNAVAILABLE' });
}

/**
 * The Broker as one process reaches it: through faults, then `below` (latency, checkers), then the
 * store. All hubs of a test share the store, each has its own wrapper.
 */
export function faultyBroker(
  broker: Broker,
  options: { process: string; faults: BrokerFaults; above?: PortLayer[]; below?: PortLayer[] },
): Broker {
  const layers = [...(options.above ?? []), options.faults.layer, ...(options.below ?? [])];
  return withLayers(broker, { process: options.process, port: 'broker', layers });
}
