import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BrokerUnderTest } from './broker-fixture.conformance.ts';
import { BrokerWorld } from './broker-world-losses.conformance.ts';

const groupsOf = [['g1'], ['g2'], ['g1', 'g2'], ['g2', 'g3']];
const allGroups = ['g1', 'g2', 'g3'];

/** One step of a history, with its arguments for the report of a failure. */
class Step implements fc.AsyncCommand<object, BrokerWorld> {
  readonly #name: string;
  readonly #run: (world: BrokerWorld) => Promise<void>;

  constructor(name: string, argument: unknown, run: (world: BrokerWorld) => Promise<void>) {
    this.#name = `${name}(${JSON.stringify(argument)})`;
    this.#run = run;
  }

  check(): boolean {
    return true;
  }

  async run(_model: object, world: BrokerWorld): Promise<void> {
    await world.step(this.#run);
  }

  toString(): string {
    return this.#name;
  }
}

const job = fc.nat(11).map((n) => `job-${n}`);
const machine = fc.nat(9);
const isRare = fc.nat(3).map((n) => n === 0);

function steps<A>(
  name: string,
  argument: fc.Arbitrary<A>,
  run: (world: BrokerWorld, argument: A) => Promise<void>,
) {
  return argument.map((value) => new Step(name, value, (world) => run(world, value)));
}

/** A step of one of the machines, of the present or a former incarnation; nothing where there is none yet. */
function machineSteps<A>(
  name: string,
  argument: fc.Arbitrary<A>,
  run: (world: BrokerWorld, machine: BrokerWorld['machines'][number], argument: A) => Promise<void>,
) {
  return steps(name, fc.tuple(machine, argument), async (world, [index, value]) => {
    const one = world.machines[index % Math.max(1, world.machines.length)];
    if (one !== undefined) await run(world, one, value);
  });
}

const entry = fc.record({
  group: fc.constantFrom(...allGroups),
  affinity: fc.constantFrom('-', 'm', 'n'),
  customer: fc.constantFrom('alice', 'bob'),
  priority: fc.constantFrom(0, 49, 50, 50, 51, 100),
  costMs: fc.constantFrom(1, 1_000, 5_000),
  delayMs: fc.constantFrom(null, null, null, 6_000),
});

const exitKind = fc.constantFrom(
  'release' as const,
  'release' as const,
  'backoff' as const,
  'fail' as const,
  'dead' as const,
);
const none = fc.constant(null);

const weighted: [weight: number, steps: fc.Arbitrary<Step>][] = [
  [
    8,
    steps('submit', fc.tuple(job, entry, isRare), (world, [jobId, over, isStalled]) =>
      world.submit(jobId, { ...over, pool: `pool-of-${over.group}` }, isStalled),
    ),
  ],
  [
    1,
    steps('enrol', fc.tuple(fc.nat(3), fc.constantFrom(1, 2, 2, 3)), (world, [index, incarnation]) =>
      world.enrol({ machineId: `m${index}`, incarnation }, groupsOf[index] ?? []),
    ),
  ],
  [
    18,
    machineSteps('claim', fc.tuple(isRare, fc.boolean()), (world, one, [isRepeat, isWarm]) =>
      world.claim(one, isRepeat, isWarm),
    ),
  ],
  [
    6,
    machineSteps(
      'turns',
      fc.tuple(fc.nat(3), fc.array(fc.tuple(machine, isRare, fc.boolean()), { maxLength: 5 })),
      async (world, one, [pick, asking]) => {
        const others = asking.map(([index, ...how]) => {
          const other = world.machines[index % world.machines.length] ?? one;
          return [other, ...how] as const;
        });
        await world.turns(one, pick, [[one, false, true], ...others]);
      },
    ),
  ],
  [
    10,
    machineSteps(
      'beat',
      fc.record({ idle: fc.boolean(), omit: isRare, isOpenRequest: isRare }),
      (world, one, how) => world.beat(one, how),
    ),
  ],
  [
    6,
    steps('beatAll', fc.boolean(), async (world, idle) => {
      for (const one of world.machines) await world.beat(one, { idle, omit: false, isOpenRequest: false });
    }),
  ],
  [
    4,
    machineSteps('complete', fc.tuple(fc.nat(3), isRare), (world, one, [pick, isStalled]) =>
      world.complete(one, pick, isStalled),
    ),
  ],
  [
    4,
    machineSteps('exit', fc.tuple(fc.nat(3), exitKind, isRare), (world, one, [pick, kind, isStalled]) =>
      world.exit(one, pick, kind, isStalled),
    ),
  ],
  [2, machineSteps('passWake', none, (world, one) => world.passWake(one))],
  [1, machineSteps('shorten', none, (world, one) => world.shorten(one))],
  [1, machineSteps('leave', none, (world, one) => world.leave(one))],
  [2, steps('cancel', fc.tuple(job, isRare), (world, [jobId, isStalled]) => world.cancel(jobId, isStalled))],
  [
    2,
    steps('requeue', fc.tuple(job, isRare), (world, [jobId, isStalled]) => world.requeue(jobId, isStalled)),
  ],
  [2, steps('deliver', none, (world) => world.deliver())],
  [2, steps('redrive', none, (world) => world.redrive())],
  [
    6,
    steps('advance', fc.constantFrom(1, 1_000, 1_000, 5_000, 5_000, 10_000, 30_000), (world, ms) =>
      world.advance(ms),
    ),
  ],
  [3, steps('sweep', none, (world) => world.sweep())],
  [4, steps('promote', none, (world) => world.promote())],
  [2, steps('record', none, (world) => world.record())],
  [1, steps('mark', none, (world) => world.mark())],
  [
    1,
    steps(
      'lose',
      fc.constantFrom('restart' as const, 'loseAll' as const, 'rollback' as const),
      (world, how) => world.lose(how),
    ),
  ],
  [8, steps('reconcile', isRare, (world, isInterrupted) => world.reconcile(isInterrupted))],
];

interface HistoryOptions<U extends BrokerUnderTest> {
  audit: (under: U) => string[];
  runs: number;
  /** Steps of the longest history. */
  maxSteps: number;
}

/** One history again: what a failure printed. `path` is fast-check's way to the shrunk one, `replay` its steps. */
export interface HistoryRepeat {
  seed: number;
  path: string;
  replay: string;
}

export interface HistoryFailure extends HistoryRepeat {
  /** The steps that are left after shrinking, one after the other, and what they broke. */
  message: string;
}

/** Plays histories until one breaks and makes that one as short as it goes; null where all hold. */
export async function breakHistory<U extends BrokerUnderTest>(
  setup: () => Promise<U>,
  options: HistoryOptions<U> & { repeat?: HistoryRepeat; seed?: number },
): Promise<HistoryFailure | null> {
  const { audit, runs, maxSteps, repeat, seed = repeat?.seed } = options;
  const commands = fc.commands(
    weighted.flatMap(([weight, arbitrary]) => Array.from({ length: weight }, () => arbitrary)),
    { maxCommands: maxSteps, size: 'max', ...(repeat ? { replayPath: repeat.replay } : {}) },
  );
  const property = fc.asyncProperty(commands, async (history) => {
    const under = await setup();
    try {
      const world = await BrokerWorld.open(under, () => audit(under), groupsOf);
      await fc.asyncModelRun(() => ({ model: {}, real: world }), history);
      await world.heal(allGroups);
    } finally {
      await under.close();
    }
  });
  const outcome = await fc.check(property, {
    numRuns: runs,
    ...(seed === undefined ? {} : { seed }),
    ...(repeat ? { path: repeat.path, endOnFailure: true } : {}),
  });
  if (!outcome.failed) return null;
  const steps = String(outcome.counterexample?.[0]);
  const replay = /replayPath="([^"]*)"/.exec(steps)?.[1] ?? '';
  const error = outcome.errorInstance;
  const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const { counterexamplePath } = outcome;
  const message = `${steps.replaceAll('),', ')\n')}\n${told}`;
  return { seed: outcome.seed, path: counterexamplePath ?? '', replay, message };
}

/** The line that plays a broken history again; without `path` its seed is played from its beginning. */
function repeatLine({ seed, path, replay }: HistoryRepeat): string {
  return `EMP_HISTORY_SEED=${seed} EMP_HISTORY_PATH='${path}' EMP_HISTORY_REPLAY='${replay}'`;
}

/**
 * Random histories on a Broker and on its model. `audit` looks at the structures behind it; a Broker
 * that has none to show answers nothing. Variables of `env`: EMP_HISTORIES (how many instead of `runs`),
 * EMP_HISTORY_SEED (another run's), EMP_HISTORY_PATH and EMP_HISTORY_REPLAY (one history of it); a
 * failure prints those that repeat it.
 */
export function randomHistories<U extends BrokerUnderTest>(
  setup: () => Promise<U>,
  options: HistoryOptions<U> & { env: Readonly<Record<string, string | undefined>> },
): void {
  const { EMP_HISTORIES, EMP_HISTORY_SEED, EMP_HISTORY_PATH: path, EMP_HISTORY_REPLAY: replay } = options.env;
  const runs = Number(EMP_HISTORIES ?? options.runs);
  const seed = EMP_HISTORY_SEED === undefined ? undefined : Number(EMP_HISTORY_SEED);
  const repeat =
    seed !== undefined && path !== undefined && replay !== undefined ? { seed, path, replay } : undefined;
  const timeout = 60_000 * Math.max(1, Math.ceil(runs / options.runs));

  test('random histories: every answer is the model’s, and every job ends once the faults are over', {
    timeout,
  }, async ({ task }) => {
    const failure = await breakHistory(setup, {
      ...options,
      runs,
      ...(seed === undefined ? {} : { seed }),
      ...(repeat ? { repeat } : {}),
    });
    if (failure === null) return;
    expect.fail(
      `${failure.message}\nrepeat: ${repeatLine(failure)} npm run test:one -- ${task.file.name} -t 'random histories'`,
    );
  });
}
