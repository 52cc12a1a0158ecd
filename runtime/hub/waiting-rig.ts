import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { CountedWork } from '#protocol/limit.ts';
import type { Hub, HubPorts } from './hub.ts';
import { limitsRig } from './limits-rig.ts';
import { submitBatch, submitJob } from './submit.ts';

/** What the hub has asked of Records to count. */
type Asked = (CountedWork & { limit: number })[];

/** Calls wait at it while it is shut. */
export function gate() {
  let opened = Promise.resolve();
  const made = {
    pass: () => opened,
    open: (): void => undefined,
    shut: () => {
      opened = new Promise((resolve) => {
        made.open = resolve;
      });
    },
  };
  return made;
}

type Store = HubPorts['records'];

type Options = Omit<Parameters<typeof limitsRig>[0], 'wrap' | 'services'>;

/** A hub whose questions to Records are noted, and short ways to submit and be refused. */
export async function waitingRig({ wrap, ...options }: Options & { wrap?: (records: Store) => Store }) {
  const asked: Asked[] = [];
  const made = await limitsRig({
    ...options,
    services: [simulationSpec],
    config: { leaseTtlMs: 600_000, sweepEveryMs: 1_000, ...options.config },
    wrap: (ports) => {
      const records = wrap?.(ports.records) ?? ports.records;
      const countWaiting: Store['countWaiting'] = (questions) => {
        asked.push([...questions]);
        return records.countWaiting(questions);
      };
      return { ...ports, records: { ...records, countWaiting } };
    },
  });
  const { rig, hub } = made;
  const stored = async () => {
    const { items } = await rig.ports.records.listJobs({ filter: {}, limit: 500, cursor: null });
    return items.map(({ id }) => id).sort();
  };
  /** Code and words of a refusal; null where it was taken. */
  const refusal = async (id: string, more: object = { customer: 'acme' }, on: Hub = hub) => {
    try {
      await submitJob(on, { service: 'simulation', id, ...more }, { traceparent: null });
      return null;
    } catch (error) {
      const { code, message, retryable, fields } = toEmpError(error);
      return { code, message, retryable, fields };
    }
  };
  const batch = (prefix: string, count: number, more: object = { customer: 'acme' }) =>
    submitBatch(
      hub,
      Array.from({ length: count }, (_, n) => ({ service: 'simulation', id: `${prefix}${n + 1}`, ...more })),
      { traceparent: null },
    );
  const tick = () => options.pass(1_000);
  return { ...made, asked, stored, refusal, batch, tick };
}

export const full = { code: 'QUEUE_FULL', retryable: true };
