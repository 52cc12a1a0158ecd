import type { JsonValue } from '#protocol/json.ts';
import { type Checker, frameOf, Violation } from './observation.ts';

const name = 'a draining machine claims nothing';

/**
 * Judged on the wire: once a machine process has reported itself as draining, it opens no claim, neither
 * alone nor with a completion. Repeats of a request that was open before are no new claim: their answer
 * may be on its way. A new process under the same machine id starts anew.
 */
export function drainingClaimsNothing(): Checker {
  const draining = new Set<string>();
  const highest = new Map<string, number>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'frame' || seen.direction !== 'up') return;
      const { id, type, body = {} } = frameOf(seen);
      if (type === undefined || id === undefined) return;
      const { machine } = seen;
      if (type === 'hello' && body['incarnation'] === null) draining.delete(machine);
      if (type === 'beat' && fieldOf(body['report'], 'state') === 'draining') draining.add(machine);
      const offer = type === 'claim' ? body : type === 'complete' ? body['next'] : null;
      const requestId = fieldOf(offer, 'requestId');
      if (typeof requestId !== 'number') return;
      const known = highest.get(machine) ?? 0;
      highest.set(machine, Math.max(known, requestId));
      if (draining.has(machine) && requestId > known) {
        throw new Violation(name, {
          detail: `${machine} sent ${type} with the new request ${requestId} while draining`,
        });
      }
    },
  };
}

function fieldOf(value: JsonValue | undefined, field: string): JsonValue | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value[field] : undefined;
}
