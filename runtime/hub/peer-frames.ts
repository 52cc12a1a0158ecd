import type { AnyHubFrame, HubFrame } from '#protocol/hub-link.ts';
import type { MachineRef } from '#protocol/names.ts';
import { setLinkFlags } from './flags.ts';
import type { Hub } from './hub.ts';
import { linkCloseCodes } from './link-limits.ts';
import type { StandingWork } from './standing-work.ts';
import { tellLinked } from './tell.ts';
import { deliverWake, wakeUnnamed } from './wake.ts';

/** Does what another hub asks for, here and only here: nothing that came from a hub goes on to a third. */
export function takePeerFrame(hub: Hub, work: StandingWork, frame: AnyHubFrame): void {
  switch (frame.type) {
    case 'linked':
      return hub.background('peer.linked', yieldLinks(hub, frame.body.machines));
    case 'wake':
      return hub.background('wake', deliverWake(hub, { ...frame.body, fromPeer: true }));
    case 'work':
      return hub.background('peer.work', workCame(hub, frame.body.group));
    case 'tell':
      tellLinked(hub, frame.body);
      return;
    case 'flags': {
      const link = hub.links.find(frame.body.machine);
      if (link !== null) setLinkFlags(link, frame.body);
      return;
    }
    case 'poke':
      return poked(work, frame.body);
    case 'recorded':
      // The task without the role only reads what there is to read.
      if (frame.body.highestSeq > hub.events.highest) work.recorder.poke();
  }
}

function poked(work: StandingWork, { role, atMs }: HubFrame<'poke'>): void {
  if (role === 'recorder') work.recorder.poke();
  else if (role === 'reconciler') work.reconciler.poke();
  else if (atMs === null) work.sweeper.poke();
  else work.sweeper.pokeAt(atMs);
}

/** Work of a group that the other hub may have interned a moment ago. */
async function workCame(hub: Hub, groupId: string): Promise<void> {
  if (hub.groups.get(groupId) === null) await hub.groups.refresh();
  hub.groups.noteWork(groupId);
  wakeUnnamed(hub, groupId);
}

/**
 * The machines of another hub have no link here any more. An older incarnation is told so at once; the
 * same one has another link, unless it came back to this hub since: Records say which hub it greeted last.
 */
async function yieldLinks(hub: Hub, machines: readonly MachineRef[]): Promise<void> {
  for (const { machineId, incarnation } of machines) {
    const own = hub.links.get(machineId);
    if (own === null || own.incarnation > incarnation) continue;
    if (own.incarnation < incarnation) {
      own.supersede();
      continue;
    }
    const row = await hub.records.getMachine(machineId);
    if (row === null || row.hubId === hub.hubId || row.incarnation !== incarnation) continue;
    if (hub.links.find(own) === own)
      own.close(linkCloseCodes.closing, 'this machine has a link to another hub');
  }
}
