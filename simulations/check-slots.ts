import type { JsonObject, JsonValue } from '#protocol/json.ts';
import { decodeFrame } from '#protocol/link.ts';
import { type Checker, Violation } from './observation.ts';

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

/**
 * Judged on the wire: a machine gets a job only in answer to an offer of a free slot of its service, and
 * at most one for each offer. Limits are sets of job ids in the Broker and slots of a machine here; the
 * product has no counter that could leak.
 */
export function slotsHold(): Checker {
  // A process numbers its requests over all its links: a hub that stood still may answer on an old one.
  const offers = new Map<string, Map<number, Set<string>>>();
  return {
    name,
    observe(seen) {
      if (seen.kind !== 'frame') return;
      const decoded = decodeFrame(seen.text);
      if (decoded.kind !== 'ok') return;
      const { frame } = decoded;
      const open = offers.get(seen.machine) ?? new Map<number, Set<string>>();
      offers.set(seen.machine, open);
      if (seen.direction === 'up' && 'type' in frame && 'id' in frame) {
        const services = offered(frame.type, frame.body);
        if (services) open.set(frame.id, services);
      }
      if (seen.direction !== 'down' || !('re' in frame)) return;
      const services = open.get(frame.re);
      open.delete(frame.re);
      if (!('body' in frame)) return;
      const body = fieldsOf(frame.body);
      const assignment = fieldsOf(body?.['assignment']) ?? fieldsOf(fieldsOf(body?.['next'])?.['assignment']);
      if (!assignment) return;
      const [service, jobId] = [String(assignment['service']), String(assignment['jobId'])];
      if (!services?.has(service))
        throw new Violation(name, {
          jobId,
          detail: `${seen.machine} was given ${jobId} of ${service} and had offered ${services ? [...services].join(', ') || 'nothing' : 'no slot in that request'}`,
        });
    },
  };
}
