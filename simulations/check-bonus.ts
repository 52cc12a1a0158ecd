import { laneKey } from '#protocol/requirements.ts';
import { type Checker, type Observation, Violation } from './observation.ts';

const name = 'I10: a cold lane waits at most the bonus longer';

interface Entry {
  jobId: string;
  group: string;
  affinity: string;
  priority: number;
  /** What its customer had submitted to this pool before it, GPU-ms. */
  chargedMs: number;
}

interface Line {
  chargedMs: number;
  entries: Map<string, Entry>;
}

type SubmitSeen = Extract<Observation, { kind: 'broker'; method: 'submit' }>;
type ClaimSeen = Extract<Observation, { kind: 'broker'; method: 'claim' }>;

/**
 * Two jobs of one customer, pool, group and priority, the later one in a warm lane: it may be claimed
 * first only while the work that the customer submitted from the earlier one up to it is no more than
 * the bonus. Without a bonus this is first come, first served. Judged are entries that wait since their
 * one submit; a loss of the Broker, which scores anew, forgets them.
 */
export function bonusBounded(): Checker {
  const lines = new Map<string, Line>();
  const lineOf = new Map<string, Line>();

  const forget = (jobId: string) => {
    lineOf.get(jobId)?.entries.delete(jobId);
    lineOf.delete(jobId);
  };
  const submitted = (seen: SubmitSeen) => {
    const { entries, ticket } = seen.args[0];
    if (seen.answer.kind !== 'ok') return;
    for (const [index, entry] of entries.entries()) {
      if (seen.answer.answers[index]?.kind !== 'added') continue;
      const again = lineOf.has(entry.jobId);
      forget(entry.jobId);
      const key = `${entry.pool} ${entry.customer}`;
      const line = lines.get(key) ?? { chargedMs: 0, entries: new Map<string, Entry>() };
      lines.set(key, line);
      const { jobId, group, affinity, priority } = entry;
      const { chargedMs } = line;
      line.chargedMs += entry.costMs;
      if (again || ticket || entry.notBeforeMs !== null || entry.lease !== null || entry.runs > 0) continue;
      line.entries.set(jobId, { jobId, group, affinity, priority, chargedMs });
      lineOf.set(jobId, line);
    }
  };
  const claimed = (seen: ClaimSeen) => {
    if (seen.answer.kind !== 'leased') return;
    const { jobId } = seen.answer.lease;
    const line = lineOf.get(jobId);
    const winner = line?.entries.get(jobId);
    forget(jobId);
    if (!line || !winner) return;
    const warm = seen.args[0].warmLanes.find((lane) => laneKey(lane) === laneKey(winner));
    const bonusMs = Math.max(0, warm?.bonusMs ?? 0);
    for (const earlier of line.entries.values()) {
      if (earlier.group !== winner.group || earlier.priority !== winner.priority) continue;
      const aheadMs = winner.chargedMs - earlier.chargedMs;
      if (aheadMs > bonusMs)
        throw new Violation(name, {
          jobId: earlier.jobId,
          detail: `${jobId} was claimed ${aheadMs} ms of work ahead of ${earlier.jobId} for a bonus of ${bonusMs} ms`,
        });
    }
  };

  return {
    name,
    observe(seen) {
      if (seen.kind === 'brokerLost') {
        lines.clear();
        lineOf.clear();
      }
      if (seen.kind !== 'broker') return;
      if (seen.method === 'submit') submitted(seen);
      if (seen.method === 'claim') claimed(seen);
      if (seen.method === 'complete' || seen.method === 'exit' || seen.method === 'cancel')
        forget(seen.args[0].jobId);
    },
  };
}
