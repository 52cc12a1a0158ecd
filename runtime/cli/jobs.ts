import type { Job, JobState } from '#protocol/job.ts';
import type { HubClient, JobQuery } from '#runtime/client.ts';
import { hasEnded } from '#runtime/job-states.ts';
import { type CommandContext, connect } from './context.ts';
import { duration } from './format.ts';
import { printable } from './output.ts';
import { sinceMs } from './parse.ts';

export interface JobsOptions {
  state?: JobState[];
  service?: string;
  customer?: string;
  pool?: string;
  machine?: string;
  label?: [string, string];
  since?: string;
  limit: number;
  watch?: true;
}

export const JOB_HEADINGS = [
  'ID',
  'STATE',
  'SERVICE',
  'POOL',
  'CUSTOMER',
  'PRIO',
  'AGE',
  'WAIT',
  'RUN',
  'MACHINE',
];

/** One job as a row: `WAIT` until its last start, or until now; `RUN` from there. */
export function jobRow(job: Job, nowMs: number): string[] {
  const end = job.finishedAtMs ?? nowMs;
  const state =
    job.state === 'leased' && job.progress > 0 ? `leased ${Math.round(job.progress * 100)}%` : job.state;
  return [
    job.id,
    state,
    job.service,
    job.pool,
    job.customer,
    String(job.priority),
    duration(nowMs - job.submittedAtMs),
    duration((job.startedAtMs ?? end) - job.submittedAtMs),
    job.startedAtMs === null ? '-' : duration(end - job.startedAtMs),
    job.machineId ?? '-',
  ];
}

function queryOf(options: JobsOptions): JobQuery {
  return {
    states: options.state,
    service: options.service,
    customer: options.customer,
    pool: options.pool,
    machineId: options.machine,
    label: options.label?.join(':'),
    sinceMs: options.since === undefined ? undefined : sinceMs(options.since, Date.now()),
  };
}

/** Up to `limit` jobs over as many pages as they take. */
async function pages(
  client: HubClient,
  query: JobQuery,
  limit: number,
  signal: AbortSignal,
): Promise<{ items: Job[]; nextCursor: string | null }> {
  const items: Job[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await client.list(
      { ...query, limit: Math.min(200, limit - items.length), cursor },
      { signal },
    );
    items.push(...page.items);
    if (page.nextCursor === null || items.length >= limit) return { items, nextCursor: page.nextCursor };
    cursor = page.nextCursor;
  }
}

/** `emp jobs`. */
export async function jobs(context: CommandContext, options: JobsOptions): Promise<void> {
  const { out, signal } = context;
  const query = queryOf(options);
  const client = await connect(context);
  if (options.watch) return await watchJobs(context, client, query, options.limit);
  const found = await pages(client, query, options.limit, signal);
  out.result(found, () =>
    out.table(
      JOB_HEADINGS,
      found.items.map((job) => jobRow(job, Date.now())),
    ),
  );
  if (found.nextCursor !== null) out.note(`more than ${options.limit}: raise --limit or narrow the filter`);
}

/**
 * Draws the list again as jobs change, on a terminal; elsewhere prints each job that changed, one a
 * line. What happens within half a second is drawn once: a busy hub has thousands of events a second.
 */
async function watchJobs(
  context: CommandContext,
  client: HubClient,
  query: JobQuery,
  limit: number,
): Promise<void> {
  const { out, signal } = context;
  const after = await client.highestSeq({ signal });
  const first = await pages(client, query, limit, signal);
  const seen = new Map(first.items.map((job) => [job.id, fingerprint(job)]));
  const draw = (items: Job[]) => {
    const rows = items.map((job) => jobRow(job, Date.now()));
    const widths = JOB_HEADINGS.map((heading, column) =>
      Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
    );
    out.live(
      [JOB_HEADINGS, ...rows].map((row) =>
        row.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  '),
      ),
    );
  };
  const print = (job: Job) => out.result(job, () => out.line(printable(jobRow(job, Date.now()).join('  '))));
  if (out.isLive) draw(first.items);
  else first.items.forEach(print);
  let pending: Promise<void> | null = null;
  const refresh = async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { items } = await pages(client, query, limit, signal);
    if (out.isLive) draw(items);
    for (const job of out.isLive ? [] : items) if (seen.get(job.id) !== fingerprint(job)) print(job);
    seen.clear();
    for (const job of items) seen.set(job.id, fingerprint(job));
  };
  for await (const event of client.follow({
    after,
    signal,
    onReconnect: ({ reason }) => out.note(printable(`${reason}; trying again`)),
  })) {
    if (event.jobId === null || pending !== null) continue;
    pending = refresh()
      .catch((error: unknown) => {
        if (!signal.aborted) out.note(printable(error instanceof Error ? error.message : String(error)));
      })
      .finally(() => {
        pending = null;
      });
  }
  if (signal.aborted) throw signal.reason;
}

function fingerprint(job: Job): string {
  return `${job.state}/${job.attempts}/${job.runs}/${hasEnded(job.state) ? '' : Math.round(job.progress * 10)}`;
}
