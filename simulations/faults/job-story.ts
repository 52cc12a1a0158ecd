import { compareTokens, type FencingToken, zeroToken } from '#protocol/token.ts';
import type { EventLine, HistoryLine, JobLine, OpLine, RunLine } from './history.ts';

/** What a history says of each job, put together: the checkers read stories, never lines. */

export const endTypes: readonly string[] = ['job.succeeded', 'job.failed', 'job.cancelled', 'job.dead'];

/** One thing that must not be, with the job it is about. */
export interface Finding {
  jobId: string;
  why: string;
}

/** A call of a client. It took effect, if it did, between the lines `from` and `to`. */
export interface Call {
  op: OpLine['op'];
  /** `info` also where the call has no answer line: the client died with it. */
  type: 'ok' | 'fail' | 'info';
  from: number;
  /** The line of its answer; infinite where nobody knows, because it may still be on its way. */
  to: number;
  state: string | undefined;
}

/** Everything that the history says of one job. */
export interface Story {
  jobId: string;
  /** Lines of its submits. */
  submits: OpLine[];
  /** All its calls, in the order in which they were sent. */
  calls: Call[];
  events: EventLine[];
  runs: RunLine[];
  /** Keys of the files it left, as `token/name`. */
  effects: string[];
  job: JobLine | null;
}

export type Fate = 'acknowledged' | 'refused' | 'unknown' | 'none';

/** `events` in the order of their numbers. */
export function tell(lines: readonly HistoryLine[], events: readonly EventLine[]): Story[] {
  const stories = new Map<string, Story>();
  const open = new Map<string, Call>();
  const of = (jobId: string): Story => {
    const found = stories.get(jobId);
    if (found !== undefined) return found;
    const fresh: Story = { jobId, submits: [], calls: [], events: [], runs: [], effects: [], job: null };
    stories.set(jobId, fresh);
    return fresh;
  };
  for (const event of events) if (event.jobId !== null) of(event.jobId).events.push(event);
  for (const [at, line] of lines.entries()) {
    if (line.kind === 'op') {
      const story = of(line.jobId);
      if (line.op === 'submit') story.submits.push(line);
      const key = `${line.client}/${line.call}`;
      if (line.type === 'invoke') {
        const { op } = line;
        const call: Call = { op, type: 'info', from: at, to: Number.POSITIVE_INFINITY, state: undefined };
        open.set(key, call);
        story.calls.push(call);
      } else {
        const to = line.type === 'info' ? Number.POSITIVE_INFINITY : at;
        Object.assign(open.get(key) ?? {}, { type: line.type, to, state: line.state });
      }
    } else if (line.kind === 'run') of(line.jobId).runs.push(line);
    else if (line.kind === 'effect') of(line.jobId).effects.push(`${line.token}/${line.name}`);
    else if (line.kind === 'job') of(line.jobId).job = line;
  }
  return [...stories.values()];
}

export function fateOf({ submits }: Story): Fate {
  if (submits.some(({ type }) => type === 'ok')) return 'acknowledged';
  const invoked = submits.filter(({ type }) => type === 'invoke').length;
  if (invoked === 0) return 'none';
  // A call without any answer line: the client died with it, so nobody knows.
  return submits.filter(({ type }) => type === 'fail').length === invoked ? 'refused' : 'unknown';
}

/** Whether it was submitted in a run before, which left it without answer and row. */
export const isEarlier = ({ submits }: Story) => submits.some(({ client }) => client === 'earlier');

/** Whether it changed its job; a claim that is copied late changed none, and may come after the run of its job. */
export const isChange = ({ type, data }: EventLine) =>
  !((type === 'job.leased' || type === 'job.adopted') && data['late'] === true);

/** What happened to a job from its submit, or a requeue, to the next requeue. */
export interface Life {
  /** Runs of it have tokens at or above. */
  floor: FencingToken;
  ends: EventLine[];
  /** Whether a cancel was noted before its first end. */
  cancelNoted: boolean;
  runs: RunLine[];
}

/** The lives of a job in their order; at least one. */
export function livesOf({ events, runs }: Story): [Life, ...Life[]] {
  const fresh = (floor: FencingToken): Life => ({ floor, ends: [], cancelNoted: false, runs: [] });
  const first = fresh(zeroToken);
  const lives: [Life, ...Life[]] = [first];
  let life = first;
  for (const event of events) {
    const { type, data } = event;
    if (type === 'job.requeued') {
      life = fresh(typeof data['fenceFloor'] === 'string' ? data['fenceFloor'] : life.floor);
      lives.push(life);
    }
    if (type === 'job.cancel_requested' && life.ends.length === 0) life.cancelNoted = true;
    if (endTypes.includes(type)) life.ends.push(event);
  }
  for (const run of runs)
    (lives.findLast(({ floor }) => compareTokens(floor, run.token) <= 0) ?? first).runs.push(run);
  return lives;
}

/**
 * In which lives a call can have taken effect, as their first and last index: requeues that were answered
 * before it was sent have begun theirs, and of those that were sent before its end any may have.
 */
export function livesSeenBy(call: Call, { calls }: Story): { first: number; last: number } {
  const requeues = calls.filter(({ op, type }) => op === 'requeue' && type !== 'fail');
  return {
    first: requeues.filter(({ to }) => to < call.from).length,
    last: requeues.filter(({ from }) => from < call.to).length,
  };
}
