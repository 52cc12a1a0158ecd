import type { FaultKind, FaultOf } from './fault-script.ts';
import type { SimConnection } from './sim-link.ts';
import type { World } from './world.ts';
import type { Later } from './world-faults.ts';
import type { MachineWeather, WorldMachine } from './world-machine.ts';

export const machineFaultKinds = [
  'machine.crash',
  'machine.reclaim',
  'machine.freeze',
  'machine.twin',
  'machine.drain',
  'machine.reconfigure',
  'machine.skew',
  'link.cut',
  'link.hold',
  'link.stall',
  'link.vanish',
  'link.partition',
  'link.malformed',
  'disk.full',
  'disk.slow',
  'download.corrupt',
  'service.crash',
  'service.hang',
  'gpu.lost',
  'operator.cordon',
  'operator.drain',
] as const satisfies FaultKind[];
export type MachineFault = FaultOf<(typeof machineFaultKinds)[number]>;
type OneMachine = Exclude<MachineFault, { kind: 'machine.reclaim' }>;
type LinkFault = FaultOf<
  'link.cut' | 'link.hold' | 'link.stall' | 'link.vanish' | 'link.partition' | 'link.malformed'
>;
type LifeFault = FaultOf<
  | 'machine.crash'
  | 'machine.freeze'
  | 'machine.twin'
  | 'machine.drain'
  | 'machine.reconfigure'
  | 'machine.skew'
  | 'operator.cordon'
  | 'operator.drain'
>;
type PartFault = Exclude<OneMachine, LinkFault | LifeFault>;

/** A container that drains has this long, whatever else was wished, ms. */
const reconfigureDeadlineMs = 10_000;

const isLink = (fault: OneMachine): fault is LinkFault => fault.kind.startsWith('link.');
const isLife = (fault: OneMachine): fault is LifeFault =>
  fault.kind.startsWith('machine.') || fault.kind.startsWith('operator.');

/** A fault of a container, its link or its parts; nothing where the machine is not part of the world. */
export function happenToMachine(world: World, fault: MachineFault, later: Later): void {
  if (fault.kind === 'machine.reclaim') {
    for (const index of fault.machines) {
      const machine = world.machine(index);
      machine?.crash({ silent: true, disk: 'wiped' });
      if (machine) world.clock.setTimeout(() => machine.start(), fault.backAfterMs);
    }
    return;
  }
  const machine = world.machine(fault.machine);
  if (!machine) return;
  if (isLink(fault)) return toLinks(world, { machine, fault, later });
  if (isLife(fault)) return toLife(world, { machine, fault, later });
  toPart(machine, fault, later);
}

function toLife(
  world: World,
  { machine, fault, later }: { machine: WorldMachine; fault: LifeFault; later: Later },
): void {
  const { clock } = world;
  const { process, machineId } = machine;
  const backAfter = (delayMs: number) => () => void clock.setTimeout(() => machine.start(), delayMs);
  switch (fault.kind) {
    case 'machine.crash':
      machine.crash(fault);
      return backAfter(fault.backAfterMs)();
    case 'machine.freeze':
      process.freeze();
      return later(() => process.thaw(fault.first), fault.forMs);
    case 'machine.twin':
      return machine.twin();
    case 'machine.drain':
      return machine.drain({ deadlineMs: fault.deadlineMs, ended: backAfter(fault.backAfterMs) });
    case 'machine.reconfigure': {
      const pool = machine.shape.pool === 'standard' ? 'fast-lane' : 'standard';
      machine.shape = { pool, slots: fault.slots };
      return machine.drain({ deadlineMs: reconfigureDeadlineMs, ended: backAfter(fault.backAfterMs) });
    }
    case 'machine.skew':
      return process.skewWall(fault.byMs);
    case 'operator.cordon':
      world.cordon(machineId, true);
      return later(() => world.cordon(machineId, false), fault.forMs);
    case 'operator.drain':
      world.drainByOperator(machineId, fault.deadlineMs);
      // By then it has ended, or the order never reached it and it goes on.
      clock.setTimeout(() => machine.revive(), fault.deadlineMs + fault.backAfterMs);
      return later(() => world.cordon(machineId, false), fault.deadlineMs + fault.backAfterMs);
  }
}

function toLinks(
  world: World,
  { machine, fault, later }: { machine: WorldMachine; fault: LinkFault; later: Later },
): void {
  const links: SimConnection[] = world.network.connections(machine.process.name);
  switch (fault.kind) {
    case 'link.cut':
      for (const link of links) link.cut();
      return;
    case 'link.hold':
      for (const link of links) {
        link.set({ [fault.direction]: 'held' });
        later(() => link.set({ [fault.direction]: 'flowing' }), fault.forMs);
      }
      return;
    case 'link.stall':
      for (const link of links) {
        link.set({ up: 'held', down: 'held' });
        later(() => link.set({ up: 'flowing', down: 'flowing' }), fault.forMs);
      }
      return later(world.network.stall(machine.process.name), fault.forMs);
    case 'link.vanish': {
      const { direction } = fault;
      const flow = direction === 'both' ? ({ up: 'vanishing', down: 'vanishing' } as const) : null;
      for (const link of links) link.set(flow ?? { [direction]: 'vanishing' });
      return;
    }
    case 'link.partition': {
      const url = world.hubs[fault.hub]?.url;
      const own = `${machine.machineId}#`;
      return later(
        world.network.partition((dialer, to) => dialer.startsWith(own) && to === url),
        fault.forMs,
      );
    }
    case 'link.malformed':
      for (const link of links) link.spoil(fault.direction, fault);
  }
}

function toPart(machine: WorldMachine, fault: PartFault, later: Later): void {
  const { weather } = machine;
  const raise = (part: keyof MachineWeather, by: number, forMs: number) => {
    weather[part] += by;
    later(() => {
      weather[part] -= by;
    }, forMs);
  };
  switch (fault.kind) {
    case 'disk.full':
      machine.disk.squeeze(fault.freeBytes);
      return later(() => machine.disk.squeeze(null), fault.forMs);
    case 'disk.slow':
      return raise('diskCallMs', fault.callMs, fault.forMs);
    case 'download.corrupt':
      return raise('corrupting', 1, fault.forMs);
    case 'service.hang':
      return raise('hanging', 1, fault.forMs);
    case 'gpu.lost':
      return raise('gpuLost', 1, fault.forMs);
    case 'service.crash':
      return machine.running?.killService?.();
  }
}
