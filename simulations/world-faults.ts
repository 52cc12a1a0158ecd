import type { Fault, FaultKind, FaultOf } from './fault-script.ts';
import { type HubFault, happenToHub, hubFaultKinds } from './hub-faults.ts';
import { happenToMachine, type MachineFault, machineFaultKinds } from './machine-faults.ts';
import { frameOf, type Observation } from './observation.ts';
import type { World } from './world.ts';

/** Into a rebuild: after it has begun and before it can have ended, ms. */
const loseAgainAfterMs = 5;

/** When limits and pauses are taken back after the heal, ms: the last order of a client is older by then. */
const liftAgainMs = [0, 60_000, 180_000];

/** Undoes a fault when its time has passed or the world heals, whichever comes first. */
export type Later = (undo: () => void, afterMs: number) => void;

const isHubFault = (fault: Fault): fault is HubFault =>
  (hubFaultKinds as readonly FaultKind[]).includes(fault.kind);
const isMachineFault = (fault: Fault): fault is MachineFault =>
  (machineFaultKinds as readonly FaultKind[]).includes(fault.kind);

/** Makes the faults of a script happen in a world, and undoes all of them when the world must heal. */
export class FaultDriver {
  readonly #world: World;
  readonly #marks = new Map<Fault, unknown>();
  readonly #happened = new Map<FaultKind, number>();
  #undo: (() => void)[] = [];
  #healed = false;
  /** Losses that wait for the next reconcile to begin. */
  #loseAgain = 0;
  /** Stalls that wait for a completion. */
  #stalls: FaultOf<'link.stall'>[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Arms a whole script. Times are `monotonic()` of the world. */
  arm(script: readonly Fault[]): void {
    const { clock } = this.#world;
    for (const fault of script) {
      if (fault.kind === 'broker.rollback' || fault.kind === 'broker.failover') {
        clock.setTimeout(() => this.#mark(fault), Math.max(0, fault.atMs - fault.lostMs));
      }
      clock.setTimeout(() => this.#happen(fault), fault.atMs);
    }
  }

  /** How often each kind has happened. */
  happened(): Partial<Record<FaultKind, number>> {
    return Object.fromEntries(this.#happened);
  }

  /** Told of everything that happens: some faults wait for a moment that no clock knows. */
  observe(seen: Observation): void {
    if (seen.kind === 'frame') return this.#stallAt(seen);
    if (this.#loseAgain === 0 || seen.kind !== 'broker' || seen.method !== 'reconcileStart') return;
    this.#loseAgain--;
    this.#world.clock.setTimeout(
      () => this.#happen({ atMs: 0, kind: 'broker.lose', again: false }),
      loseAgainAfterMs,
    );
  }

  #stallAt(frame: Extract<Observation, { kind: 'frame' }>): void {
    const due = this.#stalls.find(
      ({ machine }) => this.#world.machine(machine)?.process.name === frame.machine,
    );
    if (due === undefined || this.#healed || frameOf(frame).type !== 'complete') return;
    this.#stalls = this.#stalls.filter((stall) => stall !== due);
    this.#happen({ ...due, from: 'now' });
  }

  /** Everything runs, every link flows, every store answers; what is on its way stays on its way. */
  heal(): void {
    this.#healed = true;
    const { hubs, machines, network, options } = this.#world;
    options.buggify?.heal();
    this.#world.calm = true;
    for (const undo of this.#undo.splice(0)) undo();
    for (const hub of hubs) {
      hub.process.thaw();
      hub.process.skewWall(0);
      hub.startLater();
    }
    for (const machine of machines) machine.heal();
    for (const connection of network.connections()) {
      connection.set({ up: 'flowing', down: 'flowing' });
      for (const direction of ['up', 'down'] as const)
        connection.spoil(direction, { how: 'cut short', replaces: false, frames: 0 });
    }
    // A link that swallowed frames is of no use any more: whoever waits on it learns so.
    for (const connection of network.connections()) if (connection.lossy) connection.cut('healed');
    // Flags outlive processes: an operator takes them back.
    if ((this.#happened.get('operator.cordon') ?? 0) + (this.#happened.get('operator.drain') ?? 0) > 0)
      for (const { machineId } of machines) this.#world.cordon(machineId, false);
    // So do limits and pauses; an order that somebody repeats may arrive after it was taken back.
    if (this.#world.limited)
      for (const afterMs of liftAgainMs)
        this.#world.clock.setTimeout(() => this.#world.liftLimits(), afterMs);
    this.#world.observe({ kind: 'healed' });
  }

  #mark(fault: Fault): void {
    this.#world.stores.mark().then(
      (mark) => this.#marks.set(fault, mark),
      (error: unknown) => this.#world.trace.note(`fault: no mark: ${(error as Error).message}`),
    );
  }

  #happen(fault: Fault): void {
    if (this.#healed) return;
    const world = this.#world;
    if (fault.kind === 'link.stall' && fault.from === 'completion') return void this.#stalls.push(fault);
    world.trace.note(`fault: ${JSON.stringify(fault)}`);
    this.#happened.set(fault.kind, (this.#happened.get(fault.kind) ?? 0) + 1);
    if (isMachineFault(fault)) return happenToMachine(world, fault, this.#later);
    if (isHubFault(fault)) return happenToHub(world, fault, this.#later);
    switch (fault.kind) {
      case 'broker.lose':
        if (fault.again) this.#loseAgain++;
        return this.#lost(world.stores.loseAll());
      case 'broker.rollback':
      case 'broker.failover':
        return this.#rolledBack(fault);
      case 'broker.down':
      case 'records.down':
      case 'records.failover':
        return this.#outage(fault);
      case 'objects.down':
        world.objectsDown++;
        return this.#later(() => world.objectsDown--, fault.forMs);
      case 'wall.jump':
        return world.clock.jumpWall(fault.byMs);
      case 'operator.limit':
        world.limit(fault.name, fault.definition);
        return this.#later(() => world.limit(fault.name, null), fault.forMs);
      case 'operator.pause':
        world.pauseCustomer(fault.customer, true);
        return this.#later(() => world.pauseCustomer(fault.customer, false), fault.forMs);
      case 'client.cancel':
        return world.cancel(`job-${fault.job}`);
      case 'client.requeue':
        return world.requeueEnded(fault.job);
    }
  }

  #rolledBack(fault: FaultOf<'broker.rollback' | 'broker.failover'>): void {
    if (fault.kind === 'broker.failover')
      for (const hub of this.#world.hubs) this.#later(hub.broker.failover(), fault.forMs);
    if (this.#marks.has(fault)) this.#lost(this.#world.stores.rollback(this.#marks.get(fault)));
  }

  #lost(done: Promise<void>): void {
    // Stores in memory lose their writes within this call; others before virtual time goes on.
    void done;
    this.#world.observe({ kind: 'brokerLost' });
  }

  #outage(fault: FaultOf<'broker.down' | 'records.down' | 'records.failover'>): void {
    const port = fault.kind === 'broker.down' ? 'broker' : 'records';
    const how = fault.kind === 'records.failover' ? 'failover' : 'outage';
    for (const hub of this.#world.hubs) this.#later(hub[port][how](), fault.forMs);
  }

  readonly #later: Later = (undo, afterMs) => {
    let isUndone = false;
    const once = () => {
      if (!isUndone) undo();
      isUndone = true;
    };
    this.#undo.push(once);
    this.#world.clock.setTimeout(once, afterMs);
  };
}
