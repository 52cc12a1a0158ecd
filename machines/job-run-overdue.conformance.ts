import { describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import type { ExitCause } from './job-run-base.ts';
import { jobRunRig, name } from './job-run-rig.fixture.ts';

const cancel: ExitCause = { kind: 'cancel', reason: 'by request' };
const finished = { type: 'run.finished', result: { outputs: [], data: null } };
const failed = { type: 'run.failed', error: { code: 'LEASE_LOST', message: '', retryable: true } };
const drop = { type: 'run.drop', reason: 'lapsed' };

async function setup() {
  const run = jobRunRig(new VirtualClock(), { models: ['m1'] });
  await run.begin();
  const heard = (peer: string) => run.rig.to(peer).map((event) => event.type);
  return {
    ...run,
    heard,
    /** Told to stop, and its service has not within its limit. */
    async overdue() {
      run.rig.send({ type: 'run.end', cause: cancel });
      await run.clock.advanceBy(10_000);
    },
    held: () => [
      heard('gpu/cpu-0').includes('permit.release'),
      heard('cache').includes('models.release'),
      heard('connector/test').includes('connector.ended'),
    ],
  };
}

/** Part of job-run.test.ts, whose coverage of the chart they belong to. */
export function overdueRuns(): void {
  describe('a run whose service does not let go', () => {
    test('reports its exit in time, and keeps slot, card and models', async () => {
      const run = await setup();
      await run.overdue();
      expect(run.rig.to('connector/test').at(-1)).toEqual({ type: 'connector.stuck', run: name });
      expect(run.exit.asked[0]?.input.cause).toEqual(cancel);
      expect(run.phases()).toEqual(['running', 'overdue']);
      await run.exit.answer({ kind: 'ok' });
      expect(run.phases()).toEqual(['running', 'overdue', 'lingering']);
      expect(run.held()).toEqual([false, false, false]);
      expect(run.cleanUp.asked).toHaveLength(0);
    });

    test.each([
      ['finishes', finished],
      ['fails', failed],
      ['is ended', { type: 'service.ended' }],
    ])('ends when the service %s, before or after its exit was answered', async (_, event) => {
      for (const isAnswered of [true, false]) {
        const run = await setup();
        await run.overdue();
        if (isAnswered) await run.exit.answer({ kind: 'ok' });
        run.rig.send(event);
        expect(run.held()).toEqual([true, true, true]);
        // An exit that was under way is said once more, and only that answer counts.
        for (const _ of isAnswered ? [] : run.exit.asked) await run.exit.answer({ kind: 'ok' });
        expect(run.exit.asked.map(({ input }) => input.cause)).toEqual(
          Array(isAnswered ? 1 : 2).fill(cancel),
        );
        expect(await run.ending()).toEqual({ kind: 'exited' });
      }
    });

    test('repeats an exit that was not answered, and takes a refusal for an answer', async () => {
      const run = await setup();
      await run.overdue();
      await run.exit.fail(new EmpError('LINK_CLOSED'));
      run.rig.send({ type: 'run.end', cause: { kind: 'release', reason: 'drain' } });
      run.rig.send({ type: 'link.online' });
      await run.exit.fail(new EmpError('TIMEOUT'));
      await run.clock.advanceBy(2_000);
      await run.exit.fail(new EmpError('VALIDATION_FAILED'));
      expect(run.exit.asked.map(({ input }) => input.cause)).toEqual(Array(3).fill(cancel));
      run.rig.send({ type: 'run.end', cause: cancel });
      run.rig.send(drop);
      expect(run.phases().at(-1)).toBe('lingering');
    });

    test('says nothing more when its lease ends meanwhile', async () => {
      const run = await setup();
      await run.overdue();
      run.rig.send(drop);
      expect(run.exit.asked[0]?.signal.aborted).toBe(true);
      expect(run.phases().at(-1)).toBe('lingering');
      run.rig.send(finished);
      expect(await run.ending()).toEqual({ kind: 'dropped' });
    });

    test('says nothing at all when its lease had ended before', async () => {
      const run = await setup();
      run.rig.send({ type: 'run.end', cause: cancel });
      run.rig.send(drop);
      await run.clock.advanceBy(10_000);
      expect(run.heard('connector/test')).toContain('connector.stuck');
      expect(run.phases()).toEqual(['running', 'lingering']);
      run.rig.send({ type: 'service.ended' });
      expect(run.held()).toEqual([true, true, true]);
      expect(await run.ending()).toEqual({ kind: 'dropped' });
      expect(run.exit.asked).toHaveLength(0);
    });

    test('complains again when the service comes up with it', async () => {
      const run = await setup();
      await run.overdue();
      run.rig.send({ type: 'service.up', service: 'test' });
      await run.exit.answer({ kind: 'ok' });
      run.rig.send({ type: 'service.up', service: 'test' });
      expect(run.heard('connector/test')).toEqual(['connector.began', ...Array(3).fill('connector.stuck')]);
    });
  });
}

export function runsOfEndedServices(): void {
  describe('a run whose service is ended or comes up anew', () => {
    test('fails, and may be tried again', async () => {
      const run = await setup();
      run.rig.send({ type: 'service.ended' });
      expect(run.exit.asked[0]?.input.cause).toMatchObject({
        kind: 'fail',
        error: { code: 'CONNECTOR_FAILED', retryable: true },
      });
    });

    test('that was fenced ends without a word', async () => {
      const run = await setup();
      run.rig.send(drop);
      run.rig.send({ type: 'service.ended' });
      expect(await run.ending()).toEqual({ kind: 'dropped' });
      expect(run.exit.asked).toHaveLength(0);
    });

    test('that was stopping already ends as it was told to', async () => {
      const run = await setup();
      run.rig.send({ type: 'run.end', cause: cancel });
      run.rig.send({ type: 'service.ended' });
      expect(run.exit.asked[0]?.input.cause).toEqual(cancel);
      expect(run.heard('connector/test')).toEqual(['connector.began', 'connector.ended']);
    });

    test('names itself to a service whose actor is new', async () => {
      const run = await setup();
      run.rig.send({ type: 'service.up', service: 'test' });
      expect(run.rig.to('connector/test')).toEqual(Array(2).fill({ type: 'connector.began', run: name }));
    });
  });
}
