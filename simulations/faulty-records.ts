import type { Clock } from '#protocol/env.ts';
import type { Records } from '#protocol/records.ts';
import { PortFaults } from './port-faults.ts';
import { type PortLayer, withLayers } from './port-layer.ts';

export type RecordsFaults = PortFaults<keyof Records>;

export function recordsFaults(clock: Clock): RecordsFaults {
  return new PortFaults({ clock, code: 'RECORDS_UNAVAILABLE' });
}

/**
 * The Records as one process reaches them. A lost reply is the case that matters: the commit stands
 * and the caller must not act as if it did not.
 */
export function faultyRecords(
  records: Records,
  options: { process: string; faults: RecordsFaults; above?: PortLayer[]; below?: PortLayer[] },
): Records {
  const layers = [...(options.above ?? []), options.faults.layer, ...(options.below ?? [])];
  return withLayers(records, { process: options.process, port: 'records', layers });
}
