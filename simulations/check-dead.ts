import { type MachineRef, machineKey } from '#protocol/names.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'a dead incarnation claims nothing';

/**
 * No claim is granted to an incarnation after the Broker has taken a newer one of that machine in, nor
 * after it has taken its farewell. A loss of the Broker forgets both: until the newer one speaks again,
 * the fence floors alone shut the older one out.
 */
export function deadClaimNothing(): Checker {
  const newest = new Map<string, number>();
  const left = new Set<string>();
  const seenNow = (ref: MachineRef) => {
    newest.set(ref.machineId, Math.max(newest.get(ref.machineId) ?? 0, ref.incarnation));
  };
  return {
    name,
    observe(seen) {
      if (seen.kind === 'brokerLost') {
        newest.clear();
        left.clear();
      }
      if (seen.kind !== 'broker') return;
      if (seen.method === 'enrol' && seen.answer.kind === 'ok') {
        seenNow(seen.args[0]);
        left.delete(machineKey(seen.args[0]));
      }
      if (seen.method === 'leave') left.add(machineKey(seen.args[0]));
      if (seen.method !== 'claim' || seen.answer.kind !== 'leased') return;
      const [ref, { jobId }] = [seen.args[0], seen.answer.lease];
      const newer = newest.get(ref.machineId) ?? 0;
      if (ref.incarnation < newer)
        throw new Violation(name, {
          jobId,
          detail: `${jobId} was given to ${machineKey(ref)} after incarnation ${newer} had enrolled`,
        });
      if (left.has(machineKey(ref)))
        throw new Violation(name, {
          jobId,
          detail: `${jobId} was given to ${machineKey(ref)} after it had left`,
        });
    },
  };
}
