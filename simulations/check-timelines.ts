import { isTerminal, JOB_TRANSITIONS, type Job, type JobRun, type JobTransition } from '#protocol/job.ts';
import { compareTokens } from '#protocol/token.ts';
import { type AuditView, type Checker, type Timeline, Violation } from './observation.ts';

const name = 'I1, I3, I4: every timeline is a life';

type Refuse = (detail: string) => never;

/** Each change begins where the one before ended, and is one that the table allows. */
function changes(job: Job, transitions: readonly JobTransition[], refuse: Refuse): void {
  let state: string | null = null;
  for (const { from, to, operation } of transitions) {
    if (from !== state) refuse(`${job.id} went from ${from} to ${to} while it was ${state}`);
    if (operation !== 'submit') {
      const row = JOB_TRANSITIONS[operation];
      const allowed = from !== null && (row.from as readonly string[]).includes(from);
      if (!allowed || !(row.to as readonly string[]).includes(to))
        refuse(`${job.id} went from ${from} to ${to} by ${operation}`);
    }
    state = to;
  }
  if (state !== job.state) refuse(`the row of ${job.id} says ${job.state}, its timeline ends with ${state}`);
}

function ends(job: Job, { transitions, runs }: Timeline, refuse: Refuse): void {
  const completions = transitions.filter(({ to }) => to === 'succeeded');
  if (completions.length > 1) refuse(`${job.id} succeeded ${completions.length} times`);
  const [completion] = completions;
  if (completion && (completion.token === null || compareTokens(completion.token, job.fenceFloor) < 0))
    refuse(`${job.id} was completed with ${completion.token}, below its floor ${job.fenceFloor}`);
  let last: JobRun | null = null;
  for (const next of runs.toSorted((a, b) => a.run - b.run)) {
    if (last !== null && !follows(next, last))
      refuse(`run ${next.run} of ${job.id} has ${next.token} after ${last.token}`);
    if (last === null || compareTokens(next.token, last.token) > 0) last = next;
  }
}

/**
 * An exit raises the floor, so that a run begun after it has a higher token. Where two servers take
 * themselves for the Broker, each may have leased the job, and Records hear of the newer lease first:
 * then the older one is heard of while the newer one still runs, and the floor decides between them.
 */
function follows(next: JobRun, last: JobRun): boolean {
  const order = compareTokens(next.token, last.token);
  const wasOpen = last.endedAtMs === null || last.endedAtMs >= next.startedAtMs;
  return order > 0 || (order < 0 && wasOpen);
}

/**
 * Read from Records alone, so that runs with real processes can ask it too: at rest every job has ended
 * (I1), in at most one completion, at or above the floor (I3), and each of its runs has a higher token
 * than those that had ended before it (I4).
 */
export function timelinesTrue(): Checker {
  return {
    name,
    audit(view: AuditView) {
      for (const [jobId, timeline] of view.timelines) {
        const refuse: Refuse = (detail) => {
          throw new Violation(name, { jobId, detail });
        };
        const job = view.jobs.find((each) => each.id === jobId);
        if (!job) return refuse(`${jobId} has a timeline and no row`);
        changes(job, timeline.transitions, refuse);
        ends(job, timeline, refuse);
        if (!isTerminal(job.state)) refuse(`${jobId} is ${job.state} at rest and has not ended`);
      }
    },
  };
}
