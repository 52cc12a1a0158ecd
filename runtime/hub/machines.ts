import { EmpError } from '#protocol/errors.ts';
import type { LinkBody } from '#protocol/link.ts';
import type { Residency } from '#protocol/model.ts';
import { type MachineId, machineKey } from '#protocol/names.ts';
import type { MachineRow } from '#protocol/records.ts';
import { setLinkFlags } from './flags.ts';
import type { Hub } from './hub.ts';
import { heardAtMs, runningOn } from './links.ts';
import { tellMachine } from './tell.ts';

type Running = LinkBody<'beat'>['running'];

/** A machine as people see it: its row, and what its link tells now. */
export interface MachineView extends MachineRow {
  /** What it has a lease for, whether it is linked or not. */
  running: Running;
  residency: Residency[];
  /** To this hub, or to another one that this hub hears of. */
  linked: boolean;
  /**
   * Who tells `lastSeenAtMs`: `link`: this hub holds the link, and it is the time of its last frame;
   * `records`: they have the last frame of a link that ended, and of one that another hub holds a frame of
   * the last lease time.
   */
  seenBy: 'link' | 'records';
}

/** How long a silent machine stays in the short list, ms. */
const shownMs = 3_600_000;
/** Time that a drain without a deadline of its own leaves to what runs, ms. */
export const drainDefaultMs = 600_000;
export const drainDefaultReason = 'drained by an operator';

/** Leased jobs that are looked through for machines without a link here. */
const leasedLimit = 1_000;

/**
 * A link tells by itself. What other machines run is what Records know, behind the machines' own word by
 * a moment: one that was killed has its jobs until its lease ends.
 */
async function machineViews(hub: Hub, rows: readonly MachineRow[]): Promise<MachineView[]> {
  const elsewhere = rows.filter((row) => row.state !== 'left' && hub.links.find(row) === null);
  const leased = elsewhere.length === 0 ? new Map<string, Running>() : await leasedBy(hub, elsewhere);
  return rows.map((row) => {
    const link = hub.links.find(row);
    if (link !== null) {
      const lastSeenAtMs = Math.max(row.lastSeenAtMs, heardAtMs(hub.env.clock, link));
      const residency = [...link.residency.values()];
      return { ...row, lastSeenAtMs, running: runningOn(link), residency, linked: true, seenBy: 'link' };
    }
    const running = leased.get(machineKey(row)) ?? [];
    const residency = storedResidency(row);
    return { ...row, running, residency, linked: hub.peers.holds(row), seenBy: 'records' };
  });
}

/** Leases by incarnation. */
async function leasedBy(hub: Hub, rows: readonly MachineRow[]): Promise<Map<string, Running>> {
  const [only] = rows;
  const one = rows.length === 1 && only !== undefined ? { machineId: only.machineId } : {};
  const { items } = await hub.records.listJobs({
    filter: { state: ['leased'], ...one },
    limit: leasedLimit,
    cursor: null,
  });
  const found = new Map<string, Running>();
  for (const { id: jobId, token, machineId, incarnation } of items) {
    if (token === null || machineId === null || incarnation === null) continue;
    const key = machineKey({ machineId, incarnation });
    found.set(key, [...(found.get(key) ?? []), { jobId, token }]);
  }
  return found;
}

async function machineView(hub: Hub, row: MachineRow): Promise<MachineView> {
  const [view] = await machineViews(hub, [row]);
  if (view === undefined) throw new Error(`machine ${row.machineId} has no view`);
  return view;
}

/** What the last stored report says, for a machine that is linked elsewhere or gone. */
function storedResidency(row: MachineRow): Residency[] {
  const { residency } = row.report;
  return Array.isArray(residency) ? (residency as unknown as Residency[]) : [];
}

/** Machines that are joined, or fell silent within the last hour; with `all` every one that ever joined. */
export async function listMachines(hub: Hub, options: { all: boolean }): Promise<MachineView[]> {
  const rows = await hub.records.listMachines({ seenAfterMs: null });
  const fromMs = hub.env.clock.now() - shownMs;
  const shown = options.all
    ? rows
    : rows.filter((row) => row.state === 'joined' || (row.state === 'lost' && row.lastSeenAtMs >= fromMs));
  return await machineViews(hub, shown);
}

export async function getMachine(hub: Hub, machineId: MachineId): Promise<MachineView> {
  const row = await hub.records.getMachine(machineId);
  if (row === null) throw unknownMachine(machineId);
  return await machineView(hub, row);
}

/** Takes no new jobs until `uncordon`; what runs goes on. */
export async function cordonMachine(hub: Hub, machineId: MachineId, cordoned: boolean): Promise<MachineView> {
  const row = await setFlags(hub, machineId, cordoned ? { cordoned } : { cordoned, draining: false });
  tellMachine(hub, { machine: row, notice: 'cordon', body: { cordoned } });
  return await machineView(hub, row);
}

/** Takes no new jobs, finishes or gives back what runs by the deadline, and leaves. */
export async function drainMachine(
  hub: Hub,
  machineId: MachineId,
  options: { deadlineMs?: number | undefined; reason?: string | undefined },
): Promise<MachineView> {
  const row = await setFlags(hub, machineId, { draining: true });
  const { deadlineMs = drainDefaultMs, reason = drainDefaultReason } = options;
  tellMachine(hub, { machine: row, notice: 'drain', body: { deadlineMs, reason } });
  return await machineView(hub, row);
}

async function setFlags(
  hub: Hub,
  machineId: MachineId,
  flags: { cordoned?: boolean; draining?: boolean },
): Promise<MachineRow> {
  const row = await hub.records.setMachineFlags({ machineId, ...flags });
  if (row === null) throw unknownMachine(machineId);
  hub.poke.recorder();
  const link = hub.links.find(row);
  if (link !== null) setLinkFlags(link, row);
  else {
    const { incarnation, cordoned, draining } = row;
    hub.peers.sendTo(row, 'flags', { machine: { machineId, incarnation }, cordoned, draining });
  }
  return row;
}

function unknownMachine(machineId: MachineId): EmpError {
  return new EmpError('NOT_FOUND', {
    detail: `No machine ${machineId} has ever joined`,
    fields: { machineId },
  });
}
