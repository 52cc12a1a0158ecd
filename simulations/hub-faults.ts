import type { FaultKind, FaultOf } from './fault-script.ts';
import type { World } from './world.ts';
import type { Later } from './world-faults.ts';
import type { WorldHub } from './world-hub.ts';

export const hubFaultKinds = [
  'hub.crash',
  'hub.freeze',
  'hub.stop',
  'hub.skew',
  'hub.cutoff',
  'hubs.down',
  'peer.cut',
  'peer.hold',
  'peer.partition',
  'peer.malformed',
  'reply.lost',
  'call.stalled',
] as const satisfies FaultKind[];
export type HubFault = FaultOf<(typeof hubFaultKinds)[number]>;
type OneHub = Exclude<HubFault, { kind: 'hubs.down' }>;
type PeerFault = FaultOf<'peer.cut' | 'peer.hold' | 'peer.partition' | 'peer.malformed'>;

const isPeer = (fault: OneHub): fault is PeerFault => fault.kind.startsWith('peer.');

/** A fault of a hub, of its calls, or of its links to the others. */
export function happenToHub(world: World, fault: HubFault, later: Later): void {
  if (fault.kind === 'hubs.down') {
    for (const hub of world.hubs) {
      hub.crash(fault.silent ? 'silent' : 'clean');
      world.clock.setTimeout(() => hub.startLater(), fault.backAfterMs);
    }
    return;
  }
  const hub = world.hubs[fault.hub];
  if (!hub) return;
  if (isPeer(fault)) toPeers(hub, fault, later);
  else toOne(world, { hub, fault, later });
}

function toOne(
  world: World,
  { hub, fault, later }: { hub: WorldHub; fault: Exclude<OneHub, PeerFault>; later: Later },
): void {
  const { process } = hub;
  const backAfter = (delayMs: number) => void world.clock.setTimeout(() => hub.startLater(), delayMs);
  switch (fault.kind) {
    case 'hub.crash':
      hub.crash(fault.silent ? 'silent' : 'clean');
      return backAfter(fault.backAfterMs);
    case 'hub.freeze':
      process.freeze();
      return later(() => process.thaw(), fault.forMs);
    case 'hub.stop':
      return hub.stop(() => backAfter(fault.backAfterMs));
    case 'hub.skew':
      return process.skewWall(fault.byMs);
    case 'hub.cutoff':
      return later(hub[fault.port].outage({ waitMs: fault.waitMs }), fault.forMs);
    case 'reply.lost':
      return hub[fault.port].loseReply({ method: fault.method as never });
    case 'call.stalled':
      return hub[fault.port].delay({
        method: fault.method as never,
        delayMs: fault.forMs,
        when: fault.when,
      });
  }
}

function toPeers(hub: WorldHub, fault: PeerFault, later: Later): void {
  switch (fault.kind) {
    case 'peer.cut':
      for (const link of hub.peerLinks()) link.cut();
      return;
    case 'peer.hold':
      for (const link of hub.peerLinks()) {
        link.set({ [fault.direction]: 'held' });
        later(() => link.set({ [fault.direction]: 'flowing' }), fault.forMs);
      }
      return;
    case 'peer.partition':
      return later(hub.partition(), fault.forMs);
    case 'peer.malformed':
      for (const link of hub.peerLinks())
        for (const direction of ['up', 'down'] as const) link.spoil(direction, fault);
  }
}
