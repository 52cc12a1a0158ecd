import { describe, expect, test } from 'vitest';
import type { Job, JobRun, JobState, JobTransition } from '#protocol/job.ts';
import { timelinesTrue } from './check-timelines.ts';
import type { AuditView, Timeline } from './observation.ts';

/** The message of the breach in these timelines; null where there is none. */
function breachOf(view: AuditView): string | null {
  try {
    timelinesTrue().audit?.(view);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('timelines', () => {
  const change = (from: JobState | null, to: JobState, operation: string, token: string | null = null) =>
    ({ jobId: 'j1', from, to, operation, token }) as JobTransition;
  const run = (number: number, token: string, startedAtMs = number * 100, endedAtMs = startedAtMs + 50) =>
    ({ jobId: 'j1', run: number, token, startedAtMs, endedAtMs }) as JobRun;
  const whole = [
    change(null, 'waiting', 'submit'),
    change('waiting', 'leased', 'claim', '5'),
    change('leased', 'waiting', 'expire', '5'),
    change('waiting', 'leased', 'claim', '9'),
    change('leased', 'succeeded', 'complete', '9'),
  ];
  const viewOf = (state: JobState, timeline: Timeline) =>
    ({
      jobs: [{ id: 'j1', state, fenceFloor: '6' } as Job],
      timelines: new Map([['j1', timeline]]),
    }) as unknown as AuditView;
  const told = (state: JobState, transitions: JobTransition[], runs: JobRun[] = []) =>
    breachOf(viewOf(state, { transitions, runs }));

  test('one of two runs and an end is a life', () => {
    expect(told('succeeded', whole, [run(1, '5'), run(2, '9')])).toBeNull();
  });
  test('I1: a job that rests without an end, and one that lived on after it, are breaches', () => {
    expect(told('waiting', whole.slice(0, 1))).toContain('j1 is waiting at rest');
    expect(told('leased', [...whole, change('succeeded', 'leased', 'claim')])).toContain(
      'from succeeded to leased by claim',
    );
    expect(told('failed', whole)).toContain('says failed, its timeline ends with succeeded');
    expect(
      told(
        'succeeded',
        [whole[0], whole[4]].filter((each) => each !== undefined),
      ),
    ).toContain('went from leased to succeeded while it was waiting');
  });
  test('I3: two completions, and one below the floor, are breaches', () => {
    const again = [
      change('succeeded', 'succeeded', 'complete', '9'),
      change('succeeded', 'waiting', 'requeue'),
    ];
    expect(told('succeeded', [...whole, ...again.slice(0, 1)])).toContain('from succeeded to succeeded');
    expect(
      told('succeeded', [...whole.slice(0, 2), change('leased', 'succeeded', 'complete', '5')]),
    ).toContain('completed with 5, below its floor 6');
  });
  test('I4: a run under a token that does not rise is a breach', () => {
    expect(told('succeeded', whole, [run(1, '9'), run(2, '9')])).toContain('run 2 of j1 has 9 after 9');
    expect(told('succeeded', whole, [run(1, '9'), run(2, '8')])).toContain('run 2 of j1 has 8 after 9');
    const third = [run(1, '9', 100, 150), run(2, '8', 120, 160), run(3, '8', 200, 250)];
    expect(told('succeeded', whole, third)).toContain('run 3 of j1 has 8 after 9');
  });
  test('I4: two servers may have leased a job at once: the older lease is heard of while the newer runs', () => {
    expect(told('succeeded', whole, [run(1, '9', 100, 150), run(2, '8', 150, 150)])).toBeNull();
  });
});
