import { JobId } from '#protocol/names.ts';
import { type CommandContext, connect } from './context.ts';
import { CliError, type ErrorReport, reportError } from './errors.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

type Answer = { id: string; state: string } | { id: string; error: ErrorReport };

/** Does one thing per id and goes on after a refusal; a single id keeps the exit code of its error. */
async function each(
  context: CommandContext,
  ids: string[],
  work: (id: string) => Promise<string>,
): Promise<void> {
  const answers: Answer[] = [];
  let failure: unknown = null;
  for (const id of ids) {
    try {
      answers.push({ id, state: await work(typed(JobId, id, 'emp jobs')) });
    } catch (error) {
      // Whatever is wrong with the hub or the wish to stop is wrong for every id.
      const report = reportError(error);
      if (ids.length === 1 || report.exit === 4 || report.exit === 130 || context.signal.aborted) throw error;
      failure = error;
      answers.push({ id, error: report });
    }
  }
  const refused = answers.filter((answer) => 'error' in answer);
  context.out.result({ items: answers }, () => {
    for (const answer of answers) {
      const became = 'error' in answer ? `${answer.error.code}  ${answer.error.error}` : answer.state;
      context.out.line(printable(`${answer.id}  ${became}`));
    }
  });
  if (failure !== null)
    throw new CliError('EMP-JOB-FAILED', `${refused.length} of ${ids.length} were refused`, {
      likely: 'the lines above say why',
      cause: failure,
    });
}

/** `emp cancel`: `requested` where a machine runs the job and was told to stop. */
export async function cancelJobs(context: CommandContext, ids: string[]): Promise<void> {
  const client = await connect(context);
  await each(context, ids, async (id) => (await client.cancel(id, { signal: context.signal })).state);
}

/** `emp requeue`. */
export async function requeueJobs(context: CommandContext, ids: string[]): Promise<void> {
  const client = await connect(context);
  await each(context, ids, async (id) => (await client.requeue(id, { signal: context.signal })).state);
}
