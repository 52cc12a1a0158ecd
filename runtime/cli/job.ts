import { JobId } from '#protocol/names.ts';
import type { HubClient, TimelineView } from '#runtime/client.ts';
import { lastWait, waitedMs, waitsOf } from '#runtime/job-waits.ts';
import { type CommandContext, connect } from './context.ts';
import { bytes, duration, time } from './format.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

export interface JobOptions {
  timeline?: true;
  payload?: true;
  result?: true;
}

/** `emp job`. */
export async function job(context: CommandContext, asked: string, options: JobOptions): Promise<void> {
  const { out, signal } = context;
  const id = typed(JobId, asked, 'emp jobs');
  const client = await connect(context);
  if (options.timeline) {
    const view = await client.timeline(id, { signal });
    return out.result(view, () => drawTimeline(context, view));
  }
  if (options.payload || options.result || out.json) {
    const found = await client.get(id, { signal });
    // These two are documents for other programs: JSON with and without --json.
    return out.object(options.payload ? found.payload : options.result ? found.result : found);
  }
  drawJob(context, client, await client.timeline(id, { signal }));
}

/** Of several lives and tries, the last wait and the last run: the row knows only when the first wait began. */
function times(view: TimelineView): [string, string][] {
  const nowMs = Date.now();
  const { job: found, runs } = view;
  const wait = lastWait(waitsOf(view));
  const run = found.startedAtMs === null ? undefined : runs.find(({ token }) => token === found.token);
  const begun = run?.startedAtMs ?? found.startedAtMs;
  const ended = run?.endedAtMs ?? found.finishedAtMs ?? nowMs;
  return [
    ['submitted', time(found.submittedAtMs)],
    ['waited', duration(waitedMs(wait, nowMs))],
    ['ran', begun === null ? '-' : duration(ended - begun)],
  ];
}

function drawJob({ out }: CommandContext, client: HubClient, view: TimelineView): void {
  const { job: found } = view;
  const lines: [string, string][] = [
    ['id', found.id],
    ['state', found.state === 'leased' ? `leased, ${Math.round(found.progress * 100)} % done` : found.state],
    ['service', found.service],
    ['pool', found.pool],
    ['customer', found.customer],
    ['priority', String(found.priority)],
    ...times(view),
    [
      'machine',
      found.machineId === null ? '-' : `${found.machineId}, incarnation ${found.incarnation ?? '?'}`,
    ],
    [
      'tries',
      `${found.attempts} counted of ${found.maxAttempts}, ${found.runs} run${found.runs === 1 ? '' : 's'}`,
    ],
    ...(found.models.length > 0 ? [['models', found.models.join(', ')] as [string, string]] : []),
    ...(found.error === null
      ? []
      : [['error', `${found.error.message} (${found.error.code})`] as [string, string]]),
    ...(found.reason === null ? [] : [['reason', found.reason] as [string, string]]),
    ...Object.entries(found.labels).map(([key, value]): [string, string] => ['label', `${key}=${value}`]),
    ...(found.result?.outputs ?? []).map((output): [string, string] => [
      'output',
      `${client.baseUrl}/v1/jobs/${found.id}/outputs/${output.name}  ${bytes(output.bytes)}`,
    ]),
  ];
  for (const [name, value] of lines) out.line(`${out.style('dim', name.padEnd(10))} ${printable(value)}`);
}

function drawTimeline({ out }: CommandContext, view: TimelineView): void {
  const startMs = view.job.submittedAtMs;
  out.table(
    ['AT', 'CHANGE', 'BY', 'WHY'],
    view.transitions.map((change) => [
      `+${duration(change.atMs - startMs)}`,
      change.from === null ? `${change.to}` : `${change.from} to ${change.to} (${change.operation})`,
      change.actor,
      change.reason ?? '',
    ]),
  );
  if (view.runs.length === 0) return;
  out.line();
  out.table(
    ['RUN', 'MACHINE', 'STARTED', 'TOOK', 'END', 'COUNTED', 'ERROR'],
    view.runs.map((run) => [
      String(run.run),
      `${run.machineId}/${run.incarnation}`,
      `+${duration(run.startedAtMs - startMs)}`,
      run.endedAtMs === null ? '-' : duration(run.endedAtMs - run.startedAtMs),
      run.outcome,
      run.counted ? 'yes' : 'no',
      run.error === null ? '' : `${run.error.code}: ${run.error.message}`,
    ]),
  );
}
