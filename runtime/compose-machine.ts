import { type Actor, createActor } from 'xstate';
import { ActorTap, type ActorView, type TapFrame } from '#actors/actor-tap.ts';
import { snapshotWhere, watchActor } from '#actors/actor-watch.ts';
import type { DeadLetter } from '#actors/dead-letters.ts';
import { formatAddress, parseAddress } from '#machines/address.ts';
import { EXIT_CODES, type supervisorChart } from '#machines/supervisor.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { MachineReport } from '#protocol/link.ts';
import { machineKey } from '#protocol/names.ts';
import { healthOf, type MachineHealth, reportOf } from './machine-health.ts';
import { chartsOf, type MachineOptions, type MachineParts, partsOf, treeOf } from './machine-tree.ts';

export interface Machine {
  start(): void;
  /** Claims nothing more, finishes or gives back what runs, says goodbye, stops. */
  drain(reason: string, deadlineMs: number): void;
  /** Stops at once: services are ended, leases are left to expire. */
  stop(reason: string): void;
  /** Ends like a killed process: nothing is told to anyone. For simulations and the second signal. */
  kill(): void;
  /** Resolves when the machine may claim for the first time; rejects if it ends before. */
  readonly ready: Promise<{ incarnation: number }>;
  /** Resolves when the machine has stopped; the code is the process's exit code. */
  readonly stopped: Promise<{ code: number; reason: string }>;
  health(): MachineHealth;
  /** Reports or withdraws a reason for `degraded` that the runtime sees, as an overloaded event loop. */
  setProblem(reason: string, detail: string | null): void;
  readonly inspect: {
    /** Every living actor, parents first, with its address `machine/incarnation/path`. */
    tree(): (ActorView & { address: string })[];
    listen(listener: (frame: TapFrame) => void): () => void;
    deadLetters(): DeadLetter[];
    /**
     * Sends an event to the actor at an address: for simulations and operators, never for the machine
     * itself. False, and a dead letter, if no such actor lives in this incarnation.
     */
    send(address: string, event: { type: string }): boolean;
    /** `depths`: what waits at each edge of the process. */
    counters(): { observerErrors: number; orphansStopped: number; depths: Record<string, number> };
  };
}

/**
 * A whole machine from its ports: the same for a container, `emp dev`, tests and simulations. It
 * touches no global and starts nothing before `start`. Throws if an effect is missing.
 */
export function composeMachine(options: MachineOptions): Machine {
  const { config, env } = options;
  const parts = partsOf(options);
  const tap = new ActorTap({
    clock: env.clock,
    letters: parts.letters,
    onFailure: ({ path, error, chart }) =>
      env.log[chart ? 'error' : 'debug']('actor.failed', { path, detail: toEmpError(error).message }),
  });
  let freeBytes = 0;
  const report = (): MachineReport => {
    // Asked for now, told with the next beat: a beat waits for nothing.
    void options.ports.disk.freeBytes(config.dataDir).then(
      (bytes) => (freeBytes = bytes),
      () => (freeBytes = 0),
    );
    const vitals = options.vitals?.() ?? { loopDelayMs: 0, rssBytes: 0 };
    return reportOf(health(), { ...vitals, diskFreeBytes: freeBytes, deadLetters: parts.letters.total });
  };
  const logic = chartsOf(options, parts, report);
  const root = createActor(logic.supervisor, {
    systemId: 'supervisor',
    clock: env.clock,
    inspect: tap.inspect,
    input: {
      settings: config.settings.supervisor,
      plan: (boot) => treeOf(options, parts, logic, { ...boot, isDraining }),
    },
  });
  function isDraining(): boolean {
    return root.getSnapshot().matches({ working: 'draining' });
  }
  let ended = false;
  const health = (): MachineHealth =>
    healthOf(root.getSnapshot(), {
      ended,
      incarnation: parts.identity.incarnation,
      letters: parts.letters,
    });
  const stopped = endOf(root, tap).then((end) => {
    ended = true;
    env.log.info('machine.stopped', { ...end });
    return end;
  });
  const ready = snapshotWhere(
    root,
    (snapshot) => snapshot.matches({ working: 'ready' }) || snapshot.matches({ working: 'degraded' }),
  ).then(() => ({
    incarnation: parts.identity.incarnation ?? 0,
  }));
  // Only whoever waits for it needs to know that it never came.
  ready.catch((error: unknown) =>
    env.log.debug('machine.never_ready', { detail: toEmpError(error).message }),
  );
  return {
    start: () => void root.start(),
    drain: (reason, deadlineMs) => root.send({ type: 'machine.drain', reason, deadlineMs }),
    stop: (reason) => root.send({ type: 'machine.stop', reason }),
    kill: () => void root.stop(),
    ready,
    stopped,
    health,
    setProblem: (reason, detail) => {
      const { problems } = root.getSnapshot().context;
      if (detail !== null) root.send({ type: 'machine.degraded', reason, detail });
      else if (reason in problems) root.send({ type: 'machine.recovered', reason, detail: '' });
    },
    inspect: inspectionOf(tap, parts, config.machineId),
  };
}

/** How the root ends, whichever way it does. */
function endOf(
  root: Actor<typeof supervisorChart>,
  tap: ActorTap,
): Promise<{ code: number; reason: string }> {
  return new Promise((resolve) => {
    watchActor(root, {
      done: () => resolve(root.getSnapshot().output ?? { code: EXIT_CODES.drained, reason: 'killed' }),
      error: (error) => {
        tap.rootFailed(root, error);
        resolve({ code: EXIT_CODES.failed, reason: toEmpError(error).message });
      },
    });
  });
}

/** What may be seen of the actors, and the way to speak to one. */
function inspectionOf(tap: ActorTap, parts: MachineParts, machineId: string): Machine['inspect'] {
  const self = () => ({ machineId, incarnation: parts.identity.incarnation ?? 0 });
  return {
    tree: () =>
      tap.tree().map((view) => ({ ...view, address: formatAddress({ ...self(), path: view.ids }) })),
    listen: (listener) => tap.listen(listener),
    deadLetters: () => parts.letters.recent(),
    send: (text, event) => {
      const address = parseAddress(text);
      const own = address !== null && machineKey(address) === machineKey(self());
      const ref = own ? tap.find(address.path) : null;
      if (ref === null) parts.letters.record({ reason: 'unknown-address', to: text, event: event.type });
      ref?.send(event);
      return ref !== null;
    },
    counters: () => ({
      observerErrors: tap.observerErrors,
      orphansStopped: tap.orphansStopped,
      depths: Object.fromEntries([...parts.gauges].map(([name, depth]) => [name, depth()])),
    }),
  };
}
