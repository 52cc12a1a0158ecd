import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { type Checker, frameOf, Violation } from './observation.ts';

const name = 'I6: no slot is given twice';

const fieldsOf = (value: JsonValue | undefined): JsonObject | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;

/** Services with a free slot in the offer of a claim, or of a completion that asks for the next job. */
function offered(type: string, body: JsonObject): Set<string> | null {
  const offer = type === 'claim' ? body : type === 'complete' ? fieldsOf(body['next']) : null;
  const free = offer?.['free'];
  if (!Array.isArray(free)) return null;
  const services = free.flatMap((each) => {
    const { service, slots } = fieldsOf(each) ?? {};
    return typeof service === 'string' && Number(slots) > 0 ? [service] : [];
  });
  return new Set(services);
}

/** What a request offered, and how many jobs it may still be given: one for each time that it arrives. */
interface Offer {
  services: ReadonlySet<string>;
  left: number;
}

/**
 * Judged on the wire: a machine gets a job only in answer to an offer of a free slot of its service, and
 * at most one for each offer. Limits are sets of job ids in the Broker and slots of a machine here; the
 * product has no counter that could leak.
 */
export function slotsHold(): Checker {
  // A process numbers its requests over all its links: a hub that stood still may answer on an old one.
  const offers = new Map<string, Map<number, Offer>>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'frame') return;
      const { id, re, type, body: sent } = frameOf(seen);
      const open = offers.get(seen.machine) ?? new Map<number, Offer>();
      offers.set(seen.machine, open);
      if (seen.direction === 'up' && type !== undefined && id !== undefined) {
        const services = offered(type, sent ?? {});
        if (services) open.set(id, { services, left: seen.twice ? 2 : 1 });
      }
      if (seen.direction !== 'down' || re === undefined) return;
      const offer = open.get(re);
      const body = fieldsOf(sent);
      const assignment = fieldsOf(body?.['assignment']) ?? fieldsOf(fieldsOf(body?.['next'])?.['assignment']);
      if (!assignment) return;
      const [service, jobId] = [String(assignment['service']), String(assignment['jobId'])];
      // The second answer to a request that arrived twice is the first one, or, when that run has ended
      // meanwhile, a fresh claim: docs/protocol.md §3.
      const services = offer !== undefined && offer.left > 0 ? offer.services : null;
      if (offer) offer.left--;
      if (!services?.has(service))
        throw new Violation(name, {
          jobId,
          detail: `${seen.machine} was given ${jobId} of ${service} and had offered ${services ? [...services].join(', ') || 'nothing' : 'no slot in that request'}`,
        });
    },
  };
}
