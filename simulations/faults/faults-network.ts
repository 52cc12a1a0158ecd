import type { Rng } from '#protocol/env.ts';
import { pick } from '#simulations/seeded-rng.ts';
import { type Cluster, hubProxy, type Wire } from './cluster.ts';
import type { Fault, FaultContext, Injected } from './fault.ts';
import type { FaultProxy, FaultShape } from './fault-proxy.ts';

/** Faults of the wire between two kinds of processes, made by proxies of ours. */

/** What can happen to a wire that loses what is sent. */
const cuts = [
  'lose both ways',
  'lose up',
  'lose down',
  'hold',
  'reset',
  'forget',
  'accept and hang',
] as const;
type Cut = (typeof cuts)[number];

const shapes: Record<Exclude<Cut, 'reset' | 'forget'>, Partial<FaultShape>> = {
  'lose both ways': { up: 'dropped', down: 'dropped', accept: 'hung' },
  'lose up': { up: 'dropped' },
  'lose down': { down: 'dropped' },
  hold: { up: 'held', down: 'held' },
  'accept and hang': { accept: 'hung' },
};

function apply(proxy: FaultProxy, cut: Cut): void {
  switch (cut) {
    case 'reset':
      proxy.set({ accept: 'refused' });
      return proxy.reset();
    case 'forget':
      return proxy.forget();
    case 'accept and hang':
      proxy.set(shapes[cut]);
      // Only new connections hang: the present ones are cut, so that there will be some.
      return proxy.reset();
    default:
      return proxy.set(shapes[cut]);
  }
}

/** The proxies that one injection meets: of one machine or hub, or of all of them. */
function chosen(cluster: Cluster, wire: Wire, rng: Rng): { what: string; proxies: FaultProxy[] } {
  if (rng.next() < 0.34) return { what: `every ${wire}`, proxies: cluster.proxies(wire) };
  if (wire === 'machine-hub') {
    const machine = pick(rng, cluster.machines);
    return { what: machine.name, proxies: cluster.links.get(machine.name) ?? [] };
  }
  const hub = pick(rng, cluster.hubs);
  const proxy = hubProxy(hub, wire);
  return { what: hub.name, proxies: proxy === null ? [] : [proxy] };
}

function partition(name: string, wire: Wire, summary: string): Fault {
  return {
    name,
    summary,
    holdMs: { min: 1_000, max: 8_000 },
    cluster: { wires: [wire] },
    async inject({ cluster, rng }: FaultContext): Promise<Injected> {
      const { what, proxies } = chosen(cluster, wire, rng);
      const cut = pick(rng, cuts);
      for (const proxy of proxies) apply(proxy, cut);
      return {
        detail: `${cut}: ${what}`,
        async heal() {
          for (const proxy of proxies) proxy.heal();
          const dropped = proxies.reduce((sum, proxy) => sum + proxy.droppedBytes, 0);
          return `healed ${what}; ${dropped} bytes were lost`;
        },
      };
    },
  };
}

function slow(name: string, wire: Wire, summary: string): Fault {
  return {
    name,
    summary,
    holdMs: { min: 3_000, max: 8_000 },
    cluster: { wires: [wire] },
    async inject({ cluster, rng }: FaultContext): Promise<Injected> {
      const { what, proxies } = chosen(cluster, wire, rng);
      const shape = { delayMs: rng.int(50, 800), bytesPerMs: rng.int(2, 50) };
      for (const proxy of proxies) proxy.set(shape);
      return {
        detail: `${shape.delayMs} ms each way and ${shape.bytesPerMs} bytes/ms: ${what}`,
        async heal() {
          for (const proxy of proxies) proxy.heal();
          return `healed ${what}`;
        },
      };
    },
  };
}

export const networkFaults: readonly Fault[] = [
  partition(
    'cut-machine-hub',
    'machine-hub',
    'links of machines lose, hold, reset, forget or hang; uploads go the same way',
  ),
  partition('cut-hub-redis', 'hub-redis', 'a hub, or every hub, cannot reach Redis, in one of seven ways'),
  partition(
    'cut-hub-postgres',
    'hub-postgres',
    'a hub, or every hub, cannot reach PostgreSQL, in one of seven ways',
  ),
  partition('cut-hub-hub', 'hub-hub', 'hubs cannot reach each other, in one of seven ways'),
  slow('slow-machine-hub', 'machine-hub', 'links of machines become slow and narrow'),
  slow('slow-hub-redis', 'hub-redis', 'Redis answers up to 1.6 s late, past the deadline of some calls'),
  slow('slow-hub-postgres', 'hub-postgres', 'PostgreSQL answers up to 1.6 s late'),
];
