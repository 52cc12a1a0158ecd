import { createActor } from 'xstate';
import { ActorTap, type ActorView, type TapFrame } from '#actors/actor-tap.ts';
import { watchActor } from '#actors/actor-watch.ts';
import type { DeadLetter } from '#actors/dead-letters.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { MachineReport } from '#protocol/link.ts';
import { healthOf, type MachineHealth } from './machine-health.ts';
import { chartsOf, type MachineOptions, partsOf, treeOf } from './machine-tree.ts';

export interface Machine {
  start(): void;
  /** Claims nothing more, finishes or gives back what runs, says goodbye, stops. */
  drain(reason: string, deadlineMs: number): void;
  /** Stops at once: services are ended, leases are left to expire. */
  stop(reason: string): void;
  /** Ends like a killed process: nothing is told to anyone. For simulations and the second signal. */
  kill(): void;
  /** Resolves when the machine has stopped; the code is the process's exit code. */
  readonly stopped: Promise<{ code: number; reason: string }>;
  health(): MachineHealth;
  /** Reports or withdraws a reason for `degraded` that the runtime sees, as an overloaded event loop. */
  setProblem(reason: string, detail: string | null): void;
  readonly inspect: {
    tree(): ActorView[];
    listen(listener: (frame: TapFrame) => void): () => void;
    deadLetters(): DeadLetter[];
    counters(): { observerErrors: number; orphansStopped: number };
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
    onFailure: ({ path, error }) =>
      env.log.error('actor.failed', { path, detail: toEmpError(error).message }),
  });
  let freeBytes = 0;
  const report = (): MachineReport => {
    const { state, reasons, restarts } = health();
    const { loopDelayMs, rssBytes } = options.vitals?.() ?? { loopDelayMs: 0, rssBytes: 0 };
    void options.ports.disk.freeBytes(config.dataDir).then(
      (bytes) => (freeBytes = bytes),
      () => (freeBytes = 0),
    );
    return {
      state,
      reasons: reasons.slice(0, 16).map((reason) => reason.slice(0, 200)),
      diskFreeBytes: freeBytes,
      loopDelayMs,
      rssBytes,
      deadLetters: parts.letters.total,
      restarts,
    };
  };
  const logic = chartsOf(options, parts, report);
  const root = createActor(logic.supervisor, {
    systemId: 'supervisor',
    clock: env.clock,
    inspect: tap.inspect,
    input: { settings: config.settings.supervisor, plan: (boot) => treeOf(options, parts, logic, boot) },
  });
  let ended: { code: number; reason: string } | null = null;
  const health = (): MachineHealth =>
    healthOf(root.getSnapshot(), {
      ended: ended !== null,
      incarnation: parts.identity.incarnation,
      letters: parts.letters,
    });
  const stopped = new Promise<{ code: number; reason: string }>((resolve) => {
    const end = (end: { code: number; reason: string }) => {
      if (ended !== null) return;
      ended = end;
      env.log.info('machine.stopped', { ...end });
      resolve(end);
    };
    watchActor(root, {
      done: () => end(root.getSnapshot().output ?? { code: 0, reason: 'killed' }),
      error: (error) => {
        tap.rootFailed(root, error);
        end({ code: 1, reason: toEmpError(error).message });
      },
    });
  });
  return {
    start: () => void root.start(),
    drain: (reason, deadlineMs) => root.send({ type: 'machine.drain', reason, deadlineMs }),
    stop: (reason) => root.send({ type: 'machine.stop', reason }),
    kill: () => void root.stop(),
    stopped,
    health,
    setProblem: (reason, detail) => {
      const { problems } = root.getSnapshot().context;
      if (detail !== null) root.send({ type: 'machine.degraded', reason, detail });
      else if (reason in problems) root.send({ type: 'machine.recovered', reason, detail: '' });
    },
    inspect: {
      tree: () => tap.tree(),
      listen: (listener) => tap.listen(listener),
      deadLetters: () => parts.letters.recent(),
      counters: () => ({ observerErrors: tap.observerErrors, orphansStopped: tap.orphansStopped }),
    },
  };
}
