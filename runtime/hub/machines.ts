import { EmpError } from '#protocol/errors.ts';
import type { LinkBody } from '#protocol/link.ts';
import type { Residency } from '#protocol/model.ts';
import type { MachineId } from '#protocol/names.ts';
import type { MachineRow } from '#protocol/records.ts';
import type { Hub } from './hub.ts';

/** A machine as people see it: its row, and what its link tells now. */
export interface MachineView extends MachineRow {
  running: LinkBody<'beat'>['running'];
  residency: Residency[];
  linked: boolean;
}

/** How long a silent machine stays in the short list, ms. */
const shownMs = 3_600_000;
/** Time that a drain without a deadline of its own leaves to what runs, ms. */
export const drainDefaultMs = 600_000;
export const drainDefaultReason = 'drained by an operator';

export function machineView(hub: Hub, row: MachineRow): MachineView {
  const link = hub.links.find(row);
  if (link === null) return { ...row, running: [], residency: storedResidency(row), linked: false };
  return { ...row, running: link.running, residency: [...link.residency.values()], linked: true };
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
  return shown.map((row) => machineView(hub, row));
}

export async function getMachine(hub: Hub, machineId: MachineId): Promise<MachineView> {
  const row = await hub.records.getMachine(machineId);
  if (row === null) throw unknownMachine(machineId);
  return machineView(hub, row);
}

/** Takes no new jobs until `uncordon`; what runs goes on. */
export async function cordonMachine(hub: Hub, machineId: MachineId, cordoned: boolean): Promise<MachineView> {
  const view = await setFlags(hub, machineId, cordoned ? { cordoned } : { cordoned, draining: false });
  hub.links.get(machineId)?.notify('cordon', { cordoned });
  return view;
}

/** Takes no new jobs, finishes or gives back what runs by the deadline, and leaves. */
export async function drainMachine(
  hub: Hub,
  machineId: MachineId,
  options: { deadlineMs?: number | undefined; reason?: string | undefined },
): Promise<MachineView> {
  const view = await setFlags(hub, machineId, { draining: true });
  const { deadlineMs = drainDefaultMs, reason = drainDefaultReason } = options;
  const link = hub.links.get(machineId);
  if (link?.notify('drain', { deadlineMs, reason })) link.drainTold = true;
  return view;
}

async function setFlags(
  hub: Hub,
  machineId: MachineId,
  flags: { cordoned?: boolean; draining?: boolean },
): Promise<MachineView> {
  const row = await hub.records.setMachineFlags({ machineId, ...flags });
  if (row === null) throw unknownMachine(machineId);
  hub.poke.recorder();
  const link = hub.links.find(row);
  if (link !== null) {
    link.cordoned = row.cordoned;
    link.draining = row.draining;
    if (row.cordoned || row.draining) link.idle = false;
  }
  return machineView(hub, row);
}

function unknownMachine(machineId: MachineId): EmpError {
  return new EmpError('NOT_FOUND', {
    detail: `No machine ${machineId} has ever joined`,
    fields: { machineId },
  });
}
