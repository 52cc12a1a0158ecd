import { fromCallback } from 'xstate';
import type { ConnectorOutput, StagedInput } from '#protocol/connector.ts';
import type { Clock } from '#protocol/env.ts';
import type { JobOutput } from '#protocol/job.ts';
import type { Assignment, LinkAnswer, LinkBody } from '#protocol/link.ts';
import { ChartCoverage, chartRig, question } from './chart-rig.fixture.ts';
import { jobRunChart } from './job-run.ts';
import type { ExecuteInput, ExitCause, JobRunInput } from './job-run-base.ts';

export const coverage = new ChartCoverage(jobRunChart);
export const name = 'run/j1.5';
export const output: ConnectorOutput = { name: 'out.png', path: '/runs/out/out.png', mime: 'image/png' };
export const uploaded: JobOutput = {
  name: 'out.png',
  object: 'results/j1/5/out.png',
  bytes: 3,
  sha256: '0'.repeat(64),
  mime: 'image/png',
};
const settings = { stallMs: 120_000, stopMs: 10_000, repeatMs: 2_000, rideMs: 1_000 };

/** One run with all its effects in the hands of the test. */
export function jobRunRig<C extends Clock>(
  clock: C,
  options: { models?: string[]; exit?: ExitCause; executeThrows?: boolean } = {},
) {
  const effects = {
    stageInputs: question<StagedInput[], { assignment: Assignment; folder: string }>(),
    upload: question<JobOutput[], { assignment: Assignment; outputs: ConnectorOutput[] }>(),
    complete: question<LinkAnswer<'complete'>, LinkBody<'complete'>>(),
    exit: question<LinkAnswer<'exit'>, LinkBody<'exit'>>(),
    cleanUp: question<void, { folder: string }>(),
  };
  const work = { began: 0, aborted: 0, gone: 0 };
  const execute = fromCallback<{ type: 'abort' }, ExecuteInput>(({ receive }) => {
    if (options.executeThrows) throw new Error('no such service');
    work.began++;
    receive(() => work.aborted++);
    return () => work.gone++;
  });
  const assignment: Assignment = {
    jobId: 'j1',
    token: '5',
    run: 1,
    attempts: 0,
    service: 'test',
    payload: {},
    inputs: [],
    models: options.models ?? [],
    expectedMs: 1_000,
    maxRunMs: 600_000,
    traceparent: '',
  };
  const input: JobRunInput = { assignment, name, folder: '/runs/j1.5', settings, exit: options.exit ?? null };
  const logic = Object.fromEntries(Object.entries(effects).map(([key, effect]) => [key, effect.logic]));
  const chart = jobRunChart.provide({ actors: { ...logic, execute } as never });
  const rig = chartRig({
    chart,
    input,
    clock,
    coverage,
    peers: ['cache', 'claimer', 'gpu/cpu-0', 'connector/test'],
    systemId: name,
  });
  return {
    clock,
    rig,
    work,
    ...effects,
    /** Brings it to `working`. */
    async begin() {
      await effects.stageInputs.answer([]);
      if (assignment.models.length > 0) rig.send({ type: 'models.ready', models: [] });
      rig.send({ type: 'slot.granted', device: 'cpu-0' });
      rig.send({ type: 'permit.granted' });
    },
    /** How it ended, once the folder is gone. */
    async ending() {
      await effects.cleanUp.answer();
      return (
        rig.to('parent').find((event) => event.type.startsWith('xstate.done')) as unknown as {
          output: unknown;
        }
      ).output;
    },
    phases: () =>
      rig.to('parent').flatMap((event) => (event.type === 'run.phase' ? [event['phase'] as string] : [])),
  };
}
