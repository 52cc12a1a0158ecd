import type { JsonObject } from '#protocol/json.ts';
import type { MachineNotice, MachineNoticeType } from '#protocol/link.ts';
import { previewLimitBytes } from '#protocol/link.ts';
import { holdsLease } from './holder.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

/** Progress is copied to Records in batches: a run that reports ten times a second costs few commits, ms. */
const progressBatchMs = 200;
/** Most models that one machine may claim to have. */
const residencyLimit = 4_000;
/** Pictures that people may meet in a browser; anything else could be run there. */
const previewMimes = ['image/jpeg', 'image/png', 'image/webp', 'image/avif', 'image/gif'];

/** One-way frames of a machine: droppable, so what does not fit is dropped and logged. */
export async function takeNotice(
  hub: Hub,
  machine: MachineLink,
  type: MachineNoticeType,
  body: unknown,
): Promise<void> {
  switch (type) {
    case 'progress':
      return await progress(hub, machine, body as MachineNotice<'progress'>);
    case 'preview':
      return await preview(hub, machine, body as MachineNotice<'preview'>);
    case 'residency':
      return residency(machine, body as MachineNotice<'residency'>);
    case 'incident':
      return await incident(hub, machine, body as MachineNotice<'incident'>);
  }
}

async function progress(hub: Hub, machine: MachineLink, body: MachineNotice<'progress'>): Promise<void> {
  const items: { jobId: string; token: string; fraction: number }[] = [];
  for (const { jobId, token, fraction } of body.items) {
    const held = await holdsLease(hub, machine, { jobId, token });
    if (held.kind === 'holder') items.push({ jobId, token, fraction });
  }
  if (items.length === 0) return;
  await hub.broker.progress(items);
  hub.poke.recorder(progressBatchMs);
}

async function preview(hub: Hub, machine: MachineLink, body: MachineNotice<'preview'>): Promise<void> {
  const { jobId, token, mime, base64 } = body;
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length > previewLimitBytes || !previewMimes.includes(mime)) {
    hub.env.log.info('preview.dropped', { jobId, mime, bytes: bytes.length });
    return;
  }
  if ((await holdsLease(hub, machine, body)).kind !== 'holder') return;
  await hub.records.putPreview({ jobId, token, mime, bytes, nowMs: hub.env.clock.now() });
}

/** Entries are versioned by their one writer: an older version never replaces a newer one. */
function residency(machine: MachineLink, body: MachineNotice<'residency'>): void {
  if (body.full) machine.residency.clear();
  for (const entry of body.entries) {
    const known = machine.residency.get(entry.modelId);
    if (known !== undefined && known.version >= entry.version) continue;
    if (known === undefined && machine.residency.size >= residencyLimit) continue;
    if (entry.state === 'gone') machine.residency.delete(entry.modelId);
    else machine.residency.set(entry.modelId, entry);
  }
}

async function incident(hub: Hub, machine: MachineLink, body: MachineNotice<'incident'>): Promise<void> {
  const { kind, path, detail, jobId } = body;
  const data: JsonObject = {
    incarnation: machine.incarnation,
    kind: kind || 'unnamed',
    detail,
    fields: { path },
  };
  hub.counters.incidents++;
  await hub.records.appendEvent({
    type: 'machine.incident',
    jobId,
    machineId: machine.machineId,
    data,
    atMs: hub.env.clock.now(),
  });
  hub.poke.recorder();
}
