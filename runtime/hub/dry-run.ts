import { machineMeets } from '#machines/policy/matching.ts';
import type { MachineRow } from '#protocol/records.ts';
import { forbidden, workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import { type PreparedJob, prepareJob } from './prepare-job.ts';
import { refusedNow } from './waiting.ts';

/** What a submission would get, without one. */
export interface DryRun {
  pool: string;
  group: string;
  /** Machine classes that may run it. */
  classes: string[];
  /** Linked machines that may run it, busy ones included. */
  machinesNow: number;
  /** Until it starts, by what waits and runs now; null = nobody can tell: no machine that may run it is linked, or a limit holds or refuses it. */
  expectedStartMs: number | null;
  expectedMs: number;
  warnings: string[];
}

/** Judges a submission like submit, stores nothing. */
export async function dryRunJob(hub: Hub, document: unknown): Promise<DryRun> {
  const prepared = await prepareJob(hub, document, { prefix: '', traceparent: null, dryRun: true });
  const machines = [...hub.links.all(), ...(await linkedElsewhere(hub))];
  const fit = machines.filter(
    (machine) => !machine.cordoned && !machine.draining && machineMeets(machine, prepared.group),
  );
  const { row, groupId, classIds } = prepared;
  await hub.limits.refreshIfOld();
  await hub.pauses.refreshIfOld();
  const held = forbidden(hub, workOf(row), false);
  const refused = await refusedNow(hub, prepared);
  const warnings = [
    ...prepared.warnings,
    ...(refused === null ? [] : [`it would be refused now: ${refused}`]),
    ...(held === null ? [] : [`it is let in when there is room: ${held}`]),
    ...(fit.length === 0 ? ['no machine that may run this job is linked now'] : []),
  ];
  return {
    pool: row.pool,
    group: groupId,
    classes: classIds,
    machinesNow: fit.length,
    // When there is room nobody can tell.
    expectedStartMs: (held ?? refused) === null ? await expectedStart(hub, prepared, fit) : null,
    expectedMs: row.expectedMs,
    warnings,
  };
}

/** Machines of other hubs; whether one idles is known to its own hub. */
async function linkedElsewhere(hub: Hub): Promise<(MachineRow & { idle: boolean })[]> {
  if (!hub.peers.any) return [];
  const rows = await hub.records.listMachines({ seenAfterMs: null });
  return rows
    .filter((row) => row.state === 'joined' && hub.peers.holds(row))
    .map((row) => ({ ...row, idle: false }));
}

/**
 * A rough figure: the jobs that wait, at this job's own duration, shared by the slots that fit. Jobs
 * of other groups that the same machines serve are counted as if they were like this one.
 */
async function expectedStart(
  hub: Hub,
  prepared: PreparedJob,
  fit: readonly { idle: boolean; machineClass: { services: { service: string; slots: number }[] } }[],
): Promise<number | null> {
  const { row } = prepared;
  const slots = fit.reduce(
    (sum, link) =>
      sum + (link.machineClass.services.find((each) => each.service === row.service)?.slots ?? 0),
    0,
  );
  if (slots === 0) return null;
  const dueMs = row.notBeforeMs === null ? 0 : Math.max(0, row.notBeforeMs - hub.env.clock.now());
  const waiting = await hub.backlog.waiting();
  if (waiting === 0 && fit.some((link) => link.idle)) return dueMs;
  return Math.max(dueMs, Math.round(((waiting + 1) / slots) * row.expectedMs));
}
