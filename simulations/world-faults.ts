import type { Fault } from './fault-script.ts';
import type { Observation } from './observation.ts';
import type { World } from './world.ts';
import type { WorldHub } from './world-hub.ts';
import type { WorldMachine } from './world-machine.ts';

/** Into a rebuild: after it has begun and before it can have ended, ms. */
const loseAgainAfterMs = 5;

/** Makes the faults of a script happen in a world, and undoes all of them when the world must heal. */
export class FaultDriver {
  readonly #world: World;
  readonly #marks = new Map<Fault, unknown>();
  #undo: (() => void)[] = [];
  #healed = false;
  /** Losses that wait for the next reconcile to begin. */
  #loseAgain = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Arms a whole script. Times are `monotonic()` of the world. */
  arm(script: readonly Fault[]): void {
    const { clock } = this.#world;
    for (const fault of script) {
      if (fault.kind === 'broker.rollback') {
        clock.setTimeout(() => this.#mark(fault), Math.max(0, fault.atMs - fault.lostMs));
      }
      clock.setTimeout(() => this.#happen(fault), fault.atMs);
    }
  }

  /** Told of everything that happens: some faults wait for a moment that no clock knows. */
  observe(seen: Observation): void {
    if (this.#loseAgain === 0 || seen.kind !== 'broker' || seen.method !== 'reconcileStart') return;
    this.#loseAgain--;
    this.#world.clock.setTimeout(
      () => this.#happen({ atMs: 0, kind: 'broker.lose', again: false }),
      loseAgainAfterMs,
    );
  }

  /** Everything runs, every link flows, every store answers; what is on its way stays on its way. */
  heal(): void {
    this.#healed = true;
    for (const undo of this.#undo.splice(0)) undo();
    for (const hub of this.#world.hubs) {
      hub.process.thaw();
      hub.startLater();
    }
    for (const machine of this.#world.machines) machine.heal();
    for (const connection of this.#world.network.connections())
      connection.set({ up: 'flowing', down: 'flowing' });
    // A link that swallowed frames is of no use any more: whoever waits on it learns so.
    for (const connection of this.#world.network.connections())
      if (connection.lossy) connection.cut('healed');
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
    this.#world.trace.note(`fault: ${JSON.stringify(fault)}`);
    const world = this.#world;
    switch (fault.kind) {
      case 'broker.lose':
        if (fault.again) this.#loseAgain++;
        return this.#lost(world.stores.loseAll());
      case 'broker.rollback':
        if (!this.#marks.has(fault)) return;
        return this.#lost(world.stores.rollback(this.#marks.get(fault)));
      case 'broker.down':
      case 'records.down':
        return this.#outage(fault);
      case 'wall.jump':
        return world.clock.jumpWall(fault.byMs);
      case 'client.cancel':
        return world.cancel(`job-${fault.job}`);
      case 'client.requeue':
        return world.requeueEnded(fault.job);
      case 'hub.crash':
      case 'hub.freeze':
      case 'peer.cut':
      case 'peer.hold':
      case 'peer.partition':
      case 'reply.lost':
      case 'call.stalled':
        return this.#toHub(fault, world.hubs[fault.hub]);
      default:
        return this.#toMachine(fault, world.machines[fault.machine]);
    }
  }

  #lost(done: Promise<void>): void {
    // Stores in memory lose their writes within this call; others before virtual time goes on.
    void done;
    this.#world.observe({ kind: 'brokerLost' });
  }

  #outage(fault: Extract<Fault, { kind: 'broker.down' | 'records.down' }>): void {
    const port = fault.kind === 'broker.down' ? 'broker' : 'records';
    for (const hub of this.#world.hubs) this.#later(hub[port].outage(), fault.forMs);
  }

  #toHub(fault: Extract<Fault, { hub: number }>, hub: WorldHub | undefined): void {
    if (!hub) return;
    const { clock } = this.#world;
    switch (fault.kind) {
      case 'hub.crash':
        hub.crash(fault.silent ? 'silent' : 'clean');
        clock.setTimeout(() => hub.startLater(), fault.backAfterMs);
        return;
      case 'hub.freeze': {
        const { process } = hub;
        process.freeze();
        return this.#later(() => process.thaw(), fault.forMs);
      }
      case 'peer.cut':
        for (const link of hub.peerLinks()) link.cut();
        return;
      case 'peer.hold':
        for (const link of hub.peerLinks()) {
          link.set({ [fault.direction]: 'held' });
          this.#later(() => link.set({ [fault.direction]: 'flowing' }), fault.forMs);
        }
        return;
      case 'peer.partition':
        return this.#later(hub.partition(), fault.forMs);
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

  #toMachine(fault: Extract<Fault, { machine: number }>, machine: WorldMachine | undefined): void {
    if (!machine) return;
    const { clock, network } = this.#world;
    const { process } = machine;
    const links = network.connections(process.name);
    switch (fault.kind) {
      case 'machine.crash':
        machine.crash(fault);
        clock.setTimeout(() => machine.start(), fault.backAfterMs);
        return;
      case 'machine.freeze':
        process.freeze();
        return this.#later(() => process.thaw(fault.first), fault.forMs);
      case 'machine.twin':
        return machine.twin();
      case 'machine.drain':
        return machine.drain({
          deadlineMs: fault.deadlineMs,
          ended: () => void clock.setTimeout(() => machine.start(), fault.backAfterMs),
        });
      case 'machine.skew':
        return process.skewWall(fault.byMs);
      case 'link.cut':
        for (const link of links) link.cut();
        return;
      case 'link.hold':
        for (const link of links) {
          link.set({ [fault.direction]: 'held' });
          this.#later(() => link.set({ [fault.direction]: 'flowing' }), fault.forMs);
        }
        return;
      case 'link.vanish':
        for (const link of links) {
          link.set(
            fault.direction === 'both'
              ? { up: 'vanishing', down: 'vanishing' }
              : { [fault.direction]: 'vanishing' },
          );
        }
    }
  }

  /** Undone when its time has passed or the world heals, whichever comes first. */
  #later(undo: () => void, afterMs: number): void {
    this.#undo.push(undo);
    this.#world.clock.setTimeout(undo, afterMs);
  }
}
