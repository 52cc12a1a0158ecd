import { decodeFrame } from '#protocol/link.ts';
import { type Checker, Violation } from './observation.ts';

const name = 'a draining machine claims nothing';

/**
 * Judged on the wire: once a machine process has reported itself as draining, it sends no claim,
 * neither alone nor with a completion. A new process under the same machine id starts anew.
 */
export function drainingClaimsNothing(): Checker {
  const draining = new Set<string>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'frame' || seen.direction !== 'up') return;
      const decoded = decodeFrame(seen.text);
      if (decoded.kind !== 'ok' || !('type' in decoded.frame) || !('id' in decoded.frame)) return;
      const { type, body } = decoded.frame;
      if (type === 'hello' && body['incarnation'] === null) draining.delete(seen.machine);
      if (type === 'beat' && (body['report'] as { state?: string } | undefined)?.state === 'draining')
        draining.add(seen.machine);
      const claims =
        type === 'claim' || (type === 'complete' && body['next'] !== null && body['next'] !== undefined);
      if (claims && draining.has(seen.machine))
        throw new Violation(name, { detail: `${seen.machine} sent ${type} with an offer while draining` });
    },
  };
}
