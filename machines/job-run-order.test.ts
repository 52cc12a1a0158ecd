import { describe, expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { jobRunRig, output, uploaded } from './job-run-rig.fixture.ts';

const setup = (options?: Parameters<typeof jobRunRig>[1]) => jobRunRig(new VirtualClock(), options);

const finished = () => ({ type: 'run.finished', result: { outputs: [output], data: { ok: true } } });

describe('the order in which a run takes and gives back', () => {
  test('outputs are uploaded before the completion names them', async () => {
    const run = setup();
    await run.begin();
    run.rig.send(finished());
    expect(run.complete.asked).toHaveLength(0);
    await run.upload.answer([uploaded]);
    expect(run.complete.asked[0]?.input.outputs).toEqual([uploaded]);
    expect(run.phases()).toEqual(['running', 'uploading', 'ending']);
  });

  test('the card and the models are given back as soon as the work ends', async () => {
    const run = setup({ models: ['m1'] });
    await run.begin();
    run.rig.send(finished());
    expect(run.rig.to('gpu/cpu-0').map((event) => event.type)).toEqual(['permit.ask', 'permit.release']);
    expect(run.rig.to('cache').map((event) => event.type)).toEqual(['models.want', 'models.release']);
    expect(run.rig.to('connector/test').map((event) => event.type)).toEqual([
      'connector.began',
      'connector.ended',
    ]);
  });

  test('inputs and models are both awaited, in either order', async () => {
    const run = setup({ models: ['m1'] });
    run.rig.send({ type: 'models.ready', models: [] });
    expect(run.rig.state()).toContain('staging');
    await run.stageInputs.answer([]);
    expect(run.rig.state()).toBe('{"queueing":"slot"}');
  });
});
