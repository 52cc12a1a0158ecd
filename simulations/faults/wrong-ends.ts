import { runsLimit } from '#protocol/job.ts';
import type { EventLine, OpLine } from './history.ts';
import { type Finding, type Life, livesOf, livesSeenBy, type Story } from './job-story.ts';

/** Whether each end of a job is one that the load asked for, or that its runs explain. */

/** Attempts of every job in histories whose submits do not tell them. */
const attemptsUntold = 12;

/** What the payload asked for, as the submit tells it. Null: of a history that does not tell. */
interface Asked {
  failWith: 'none' | 'retryable' | 'permanent' | null;
  maxAttempts: number;
}

/**
 * Ends of an accepted job that nothing explains: a failure that its payload did not ask for, or a success
 * where it asked for one; a cancel that no client asked for in that life; a death before its attempts were
 * used up by counted runs; a life that no client began, or that a client was told of and never came.
 */
export function wrongEnds(story: Story): Finding[] {
  const { jobId, job } = story;
  const asked = askedOf(story.submits);
  const lives = livesOf(story);
  const found = [...wrongLives(story, lives)];
  for (const [index, life] of lives.entries())
    for (const end of life.ends) {
      const why = unexplained(end, { story, asked, life, index });
      if (why !== null) found.push(index === 0 ? why : `${why}, in life ${index + 1}`);
    }
  const counted = lives.at(-1)?.runs.filter((run) => run.counted).length ?? 0;
  if (job !== null && job.attempts !== counted)
    found.push(`its row says ${job.attempts} attempts, ${counted} runs were counted`);
  return found.map((why) => ({ jobId, why }));
}

function askedOf(submits: readonly OpLine[]): Asked {
  const told = submits.find(({ failWith }) => failWith !== undefined);
  return { failWith: told?.failWith ?? null, maxAttempts: told?.maxAttempts ?? attemptsUntold };
}

/** A life begins by a requeue that was acknowledged or of which nobody knows, after an end other than success. */
function wrongLives({ calls }: Story, lives: readonly Life[]): string[] {
  const requeues = calls.filter(({ op }) => op === 'requeue');
  const possible = requeues.filter(({ type }) => type !== 'fail').length;
  const certain = requeues.filter(({ type }) => type === 'ok').length;
  const begun = lives.length - 1;
  const found: string[] = [];
  if (begun > possible) found.push(`it was requeued ${begun} times, by ${possible} requests`);
  if (begun < certain) found.push(`${certain} requeues were acknowledged, ${begun} took place`);
  for (const { ends } of lives.slice(0, -1)) {
    if (ends.length === 0) found.push('it was requeued before it had ended');
    if (ends.at(-1)?.type === 'job.succeeded') found.push('it was requeued after it had succeeded');
  }
  return found;
}

/** Why an end is a wrong one; null where it is explained. */
function unexplained(
  end: EventLine,
  { story, asked, life, index }: { story: Story; asked: Asked; life: Life; index: number },
): string | null {
  switch (end.type) {
    case 'job.succeeded':
      return asked.failWith === 'permanent' ? 'it succeeded, its payload asked for a failure' : null;
    case 'job.cancelled':
      return isCancelled(story, index) ? null : 'it was cancelled, and nobody asked for that';
    case 'job.failed':
      return life.cancelNoted ? 'it failed after its cancel was noted' : failedWrongly(end, asked);
    default:
      return life.cancelNoted ? 'it is dead after its cancel was noted' : diedWrongly(life, asked);
  }
}

function isCancelled(story: Story, index: number): boolean {
  return story.calls.some((call) => {
    if (call.op !== 'cancel' || call.type === 'fail') return false;
    const { first, last } = livesSeenBy(call, story);
    return first <= index && index <= last;
  });
}

/** `JOB_FAILED` is the code of a failure that a payload asked for, and of no other here. */
function failedWrongly({ data }: EventLine, { failWith }: Asked): string | null {
  const { code = 'no code', message = '' } = Object(data['error']) as { code?: string; message?: string };
  if (code === 'JOB_FAILED' && (failWith === 'permanent' || failWith === null)) return null;
  const asked = failWith === 'permanent' ? 'JOB_FAILED' : 'no such failure';
  return `it failed with ${code}, its payload asked for ${asked}: ${message}`;
}

function diedWrongly({ runs }: Life, { maxAttempts }: Asked): string | null {
  const counted = runs.filter((run) => run.counted).length;
  if (counted >= maxAttempts || runs.length >= runsLimit) return null;
  return `it is dead after ${counted} counted runs of ${maxAttempts}`;
}

/** Answers about an end which no life had that the call can have seen. */
export function contradictedAnswers(story: Story): Finding[] {
  const lives = livesOf(story);
  const found: Finding[] = [];
  for (const call of story.calls) {
    const { op, type, state } = call;
    if (type !== 'ok' || state === undefined || !isEnd(state)) continue;
    const { first, last } = livesSeenBy(call, story);
    const seen = lives.slice(Math.min(first, lives.length - 1), last + 1);
    if (seen.some(({ ends }) => ends.some((end) => end.type === `job.${state}`))) continue;
    const ends = seen.flatMap((life) => life.ends.map((end) => end.type.slice('job.'.length)));
    found.push({
      jobId: story.jobId,
      why: `${op} answered ${state}, it ended ${ends.join(', ') || 'never'}`,
    });
  }
  return found;
}

const isEnd = (state: string) => ['succeeded', 'failed', 'cancelled', 'dead'].includes(state);
