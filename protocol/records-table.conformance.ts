import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EVENT_DATA, EventType } from './events.ts';
import { isTerminal, JOB_TRANSITIONS, type Job, JobOperation, JobState } from './job.ts';
import {
  expire,
  type Hub,
  hubOn,
  m1,
  m2,
  ordinary,
  permanent,
  type RecordsSetup,
  release,
  retryable,
  t0,
  withhold,
} from './records-fixture.conformance.ts';
import { compareTokens } from './token.ts';

/** Every state × operation against JOB_TRANSITIONS, one by one and in random histories. */

/** Brings a new job into a state. Tokens up to 100 are used up. */
const INTO: Record<JobState, (hub: Hub) => Promise<string>> = {
  scheduled: (hub) => hub.submit({ state: 'scheduled', notBeforeMs: t0 + 1_000, expiresAtMs: t0 + 500 }),
  held: (hub) => hub.submit({ state: 'held', expiresAtMs: t0 + 500 }),
  waiting: (hub) => hub.submit({ expiresAtMs: t0 + 500 }),
  leased: async (hub) => {
    const id = await hub.submit({ expiresAtMs: t0 + 500 });
    await hub.claim(id, '100');
    return id;
  },
  succeeded: async (hub) => {
    const id = await hub.submit();
    await hub.complete(id, '100');
    return id;
  },
  failed: async (hub) => {
    const id = await hub.submit();
    await hub.exit(id, '100', permanent);
    return id;
  },
  cancelled: async (hub) => {
    const id = await hub.submit();
    await hub.cancel(id);
    return id;
  },
  dead: async (hub) => {
    const id = await hub.submit({ maxAttempts: 1 });
    await hub.exit(id, '100', expire);
    return id;
  },
};

/** Each operation with a token above every floor, at a time when every delay has passed. */
const DO: Record<JobOperation, (hub: Hub, id: string) => Promise<unknown>> = {
  claim: (hub, id) => hub.claim(id, '200', m2),
  complete: (hub, id) => hub.complete(id, '200'),
  fail: (hub, id) => hub.exit(id, '200', retryable()),
  release: (hub, id) => hub.exit(id, '200', release),
  expire: (hub, id) => hub.exit(id, '200', expire),
  withhold: (hub, id) => hub.exit(id, '200', withhold),
  cancel: (hub, id) => hub.cancel(id),
  promote: (hub, id) => hub.record(hub.event('promoted', id, { atMs: t0 + 2_000 })),
  admit: (hub) => hub.records.admitJobs({ ...ordinary, limit: 10, actor: 'hub', nowMs: t0 + 2_000 }),
  ttl: async (hub) => hub.records.expireTtl({ nowMs: t0 + 2_000, limit: 10, lease: await hub.recorder() }),
  requeue: (hub, id) => hub.requeue(id),
};

const cells = JobState.options.flatMap((state) =>
  JobOperation.options.map((operation) => ({ state, operation })),
);

export function tableSuite(setup: RecordsSetup): void {
  describe('the table of transitions', () => {
    test.each(cells)('$operation of a $state job is what the table says', async ({ state, operation }) => {
      const hub = hubOn((await setup()).records);
      const id = await INTO[state](hub);
      const before = await hub.job(id);
      expect(before.state).toBe(state);
      const made = (await hub.records.timeline(id)).transitions.length;
      await DO[operation](hub, id);
      const after = await hub.job(id);
      const transitions = (await hub.records.timeline(id)).transitions.slice(made);
      if (JOB_TRANSITIONS[operation].from.includes(state)) {
        expect(JOB_TRANSITIONS[operation].to).toContain(after.state);
        expect(transitions).toMatchObject([{ from: state, to: after.state, operation }]);
      } else {
        expect(after.state).toBe(state);
        expect(transitions).toEqual([]);
      }
    });

    test('random histories obey the table, the floor and the end', { timeout: 60_000 }, async () => {
      const hub = hubOn((await setup()).records);
      await fc.assert(
        fc.asyncProperty(history, async ({ first, steps }) => {
          const id = await hub.submit({
            state: first,
            maxAttempts: 3,
            ...(first === 'scheduled' ? { notBeforeMs: t0 + 30 } : {}),
            expiresAtMs: t0 + 90,
          });
          for (const [n, step] of steps.entries())
            await checkedStep(hub, id, { ...step, nowMs: t0 + 20 + n * 5 });
          await checkTimeline(hub, id);
          await checkFacts(hub, id);
        }),
        { numRuns: 150, seed: 20_260_101 },
      );
      // Counted as a whole and one by one.
      expect(await hub.records.countJobs({})).toEqual(await hub.records.countJobs({ submittedAfterMs: 0 }));
    });
  });
}

interface Step {
  act: keyof typeof ACTS;
  token: string;
  nowMs: number;
}

const holderOf = (token: string) => (Number(token) % 2 === 0 ? m1 : m2);

/** Like DO, with any token and time, and the halves of a cancel apart. */
const ACTS = {
  claim: (hub: Hub, id: string, { token, nowMs }: Step) => hub.claim(id, token, holderOf(token), nowMs),
  adopt: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.record(hub.event('adopted', id, { token, ...holderOf(token), atMs: nowMs })),
  progress: (hub: Hub, id: string, { token }: Step) =>
    hub.record(hub.event('progress', id, { token, fraction: 0.5 })),
  complete: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.complete(id, token, { holder: holderOf(token), nowMs }),
  fail: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, retryable(nowMs + 12), { holder: holderOf(token), nowMs }),
  failForGood: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, permanent, { holder: holderOf(token), nowMs }),
  release: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, release, { holder: holderOf(token), nowMs }),
  expire: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, expire, { holder: holderOf(token), nowMs }),
  withhold: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, withhold, { holder: holderOf(token), nowMs }),
  cancelled: (hub: Hub, id: string, { token, nowMs }: Step) =>
    hub.exit(id, token, { kind: 'cancel', reason: 'asked' }, { holder: holderOf(token), nowMs }),
  requestCancel: (hub: Hub, jobId: string, { nowMs }: Step) =>
    hub.records.requestCancel({ jobId, actor: 'client', nowMs }),
  finishCancel: (hub: Hub, jobId: string, { nowMs }: Step) =>
    hub.records.finishCancel({ jobId, actor: 'client', nowMs }),
  requeue: (hub: Hub, id: string) => hub.requeue(id),
  promote: (hub: Hub, id: string, { nowMs }: Step) => hub.record(hub.event('promoted', id, { atMs: nowMs })),
  admit: (hub: Hub, _: string, { nowMs }: Step) =>
    hub.records.admitJobs({ ...ordinary, limit: 500, actor: 'hub', nowMs }),
  ttl: async (hub: Hub, _: string, { nowMs }: Step) =>
    hub.records.expireTtl({ nowMs, limit: 1_000, lease: await hub.recorder() }),
};

const history = fc.record({
  first: fc.constantFrom('waiting' as const, 'scheduled' as const, 'held' as const),
  steps: fc.array(
    fc.record({
      act: fc.constantFrom(...(Object.keys(ACTS) as (keyof typeof ACTS)[])),
      token: fc.integer({ min: 1, max: 12 }).map(String),
    }),
    { minLength: 1, maxLength: 30 },
  ),
});

async function checkedStep(hub: Hub, id: string, step: Step): Promise<void> {
  const before = await hub.job(id);
  const answer = (await ACTS[step.act](hub, id, step)) as { kind?: string; applied?: boolean } | undefined;
  const after = await hub.job(id);
  expect(compareTokens(after.fenceFloor, before.fenceFloor)).toBeGreaterThanOrEqual(0);
  if (isTerminal(before.state) && after.state !== before.state) expect(step.act).toBe('requeue');
  if (isTerminal(before.state) && step.act !== 'requeue') expect(frozen(after)).toEqual(frozen(before));
  expect(after.result !== null).toBe(after.state === 'succeeded');
  expect(after.finishedAtMs !== null).toBe(isTerminal(after.state));
  expect(after.attempts).toBeLessThanOrEqual(after.maxAttempts);
  const isAsked = before.cancelRequestedAtMs !== null;
  if (after.state === 'cancelled' && before.state !== 'cancelled') expect(isAsked).toBe(true);
  const isFenced = compareTokens(step.token, before.fenceFloor) < 0;
  const stands = ['leased', 'waiting', 'scheduled'].includes(before.state) && !isFenced;
  if (step.act === 'complete') expect(answer?.kind === 'committed').toBe(stands);
  if (answer?.applied !== undefined)
    expect(answer.applied).toBe(
      stands || (step.act === 'cancelled' && before.state === 'held' && isAsked && !isFenced),
    );
  if (answer?.applied) expect(compareTokens(after.fenceFloor, step.token)).toBeGreaterThan(0);
}

/** What the end has made final; when the run began may still be learnt. */
const frozen = ({ startedAtMs: _, ...rest }: Job) => rest;

async function checkTimeline(hub: Hub, id: string): Promise<void> {
  const job = await hub.job(id);
  const { transitions, runs } = await hub.records.timeline(id);
  expect(transitions.at(-1)?.to).toBe(job.state);
  for (const [n, { from, to, operation }] of transitions.entries()) {
    expect(from).toBe(n === 0 ? null : transitions[n - 1]?.to);
    if (operation === 'submit') continue;
    expect(JOB_TRANSITIONS[operation].from).toContain(from);
    expect(JOB_TRANSITIONS[operation].to).toContain(to);
  }
  expect(runs.map((run) => run.run)).toEqual(runs.map((_, n) => n + 1));
  expect(job.runs).toBe(runs.length);
  expect(new Set(runs.map((run) => run.token)).size).toBe(runs.length);
  for (const run of runs) expect(run.endedAtMs === null).toBe(run.outcome === 'running');
}

/** Every event has the form that events.ts says, and one tells each change of state. */
async function checkFacts(hub: Hub, jobId: string): Promise<void> {
  await hub.records.assignSeq({ limit: 100_000, lease: await hub.recorder() });
  const events = await hub.records.listEvents({ after: 0, limit: 1_000, jobId });
  for (const event of events) EVENT_DATA[EventType.parse(event.type)].parse(event.data);
  const { transitions } = await hub.records.timeline(jobId);
  const changes = events.filter(
    ({ type, data }) => type !== 'job.cancel_requested' && type !== 'job.progressed' && data.late !== true,
  );
  expect(changes.length).toBeGreaterThanOrEqual(transitions.length);
}
