import { type AnyEventObject, fromCallback, fromPromise } from 'xstate';
import type { Clock } from '#protocol/env.ts';
import type { Assignment } from '#protocol/link.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { jobRunChart } from './job-run.ts';
import { runName, runsChart } from './runs.ts';

type SteppedClock = Clock & { settle(): Promise<void> };

export const coverage = new ChartCoverage(runsChart);
const assignment = (jobId: string, rest: Partial<Assignment> = {}): Assignment => ({
  jobId,
  token: '5',
  run: 1,
  attempts: 0,
  service: 'test',
  payload: {},
  inputs: [],
  models: [],
  expectedMs: 1_000,
  maxRunMs: 600_000,
  traceparent: '',
  ...rest,
});

/** The desk of runs, with the effects of its runs in the hands of the test. */
export function runsRig<C extends SteppedClock>(
  clock: C,
  options: { slots?: number; leadMs?: number; up?: boolean; draining?: boolean } = {},
) {
  const exit = question<{ kind: 'ok' | 'unknown' }, { jobId: string; cause: { kind: string } }>();
  const complete = question<unknown, { jobId: string }>();
  const executing: string[] = [];
  const finish = new Map<string, () => void>();
  const jobRun = jobRunChart.provide({
    actors: {
      stageInputs: fromPromise(async () => []),
      upload: fromPromise(async () => []),
      complete: complete.logic,
      exit: exit.logic,
      cleanUp: fromPromise(async () => undefined),
      execute: fromCallback(
        ({
          input,
          sendBack,
        }: {
          input: { assignment: Assignment };
          sendBack: (event: AnyEventObject) => void;
        }) => {
          const { jobId } = input.assignment;
          executing.push(jobId);
          finish.set(jobId, () => sendBack({ type: 'run.finished', result: { outputs: [], data: null } }));
          return () => void executing.splice(executing.indexOf(jobId), 1);
        },
      ),
    } as never,
  });
  const slots = Array.from({ length: options.slots ?? 1 }, (_, index) => ({
    id: `test#${index}`,
    service: 'test',
    device: 'cpu-0',
  }));
  const rig = chartRig({
    chart: runsChart,
    clock,
    coverage,
    peers: ['lease', 'claimer', 'supervisor', 'cache', 'connector/test', 'gpu/cpu-0'],
    systemId: 'runs',
    input: {
      slots,
      jobRun,
      settings: { stallMs: 120_000, stopMs: 1_000, repeatMs: 2_000, rideMs: 1_000 },
      folder: '/runs',
      staging: { leadMs: options.leadMs ?? 0, waitMs: 30_000 },
      draining: options.draining ?? false,
    },
  });
  if (options.up ?? true) {
    rig.send({ type: 'service.up', service: 'test' });
    rig.send({ type: 'device.usable', device: 'cpu-0', usable: true });
  }
  const run = (jobId: string, token = '5') =>
    rig.subject.system.get(runName({ jobId, token })) as
      | { send(event: unknown): void; getSnapshot(): { value: unknown } }
      | undefined;
  return {
    clock,
    rig,
    exit,
    complete,
    executing,
    run,
    finish: (jobId: string) => finish.get(jobId)?.(),
    start: (jobId: string, rest: Partial<Assignment> = {}) =>
      rig.send({ type: 'runs.start', assignment: assignment(jobId, rest) }),
    /** Lets promise effects come to their end, and grants the card. */
    async work(jobId: string, token = '5') {
      await clock.settle();
      run(jobId, token)?.send({ type: 'permit.granted' });
    },
    free: () =>
      (
        rig
          .to('claimer')
          .filter((event) => event.type === 'claim.free')
          .at(-1) as unknown as { free: unknown }
      ).free,
    held: () =>
      (rig.to('lease').at(-1) as unknown as { running: { jobId: string }[] }).running.map(
        (entry) => entry.jobId,
      ),
  };
}
