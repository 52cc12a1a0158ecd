import type { Env } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { HubRole } from '#protocol/hub-link.ts';
import { Admissions, admitHeld } from './admission.ts';
import { runBulks } from './bulks.ts';
import { refreshFlags } from './flags.ts';
import type { Hub } from './hub.ts';
import { markLost } from './lost.ts';
import { endOverdue } from './overdue.ts';
import { PokedTask } from './poked-task.ts';
import { Preemptions, preempt } from './preempt.ts';
import { promoteDue } from './promote.ts';
import { reconcile } from './reconcile.ts';
import { Recorder } from './record.ts';
import { retain } from './retention.ts';
import { Role } from './roles.ts';
import { fireSchedules, type Retried } from './schedules.ts';
import { StaleEntries } from './stale-entries.ts';
import { sweepLapsed } from './sweep.ts';
import { expireWaiting } from './ttl.ts';

/** First wait after a failure of standing work, ms; doubles up to sixteen times that. */
const retryMs = 250;
/** Retention is a matter of days. */
const retainEveryMs = 60_000;

/**
 * What a hub does of its own accord: three roles that one hub of many holds, and the promoter and the
 * admitter, which every hub runs because their steps are atomic, in the Broker and in Records.
 */
export class StandingWork {
  readonly recorder: PokedTask;
  readonly sweeper: PokedTask;
  readonly reconciler: PokedTask;
  readonly promoter: PokedTask;
  readonly admitter: PokedTask;
  /** TTL, overdue runs and retention, by the clock: Records tell no next date. */
  readonly #keeper: PokedTask;
  /** Flags of linked machines that another hub changed without reaching this one. */
  readonly #flags: PokedTask;
  readonly #roles: Record<HubRole, Role>;
  readonly #recording: Recorder;
  readonly #env: Env;
  readonly #flagsEveryMs: number;

  constructor(hub: Hub) {
    const { env, config, records, hubId } = hub;
    const task = (name: string, run: (told: boolean) => Promise<number | null>) =>
      new PokedTask({ name, env, run, retryMs });
    // Who was told that something happened asks the Broker.
    const pulse = (told: boolean) => (told ? null : hub.pulse.recent());
    const changed = () => hub.peers.tellRoles();
    const role = (name: HubRole, taken: () => void) =>
      new Role({ name, ttlMs: config.singletonTtlMs, holder: hubId, records, env, taken, changed });
    const sweeperRole = role('sweeper', () => {
      this.sweeper.poke();
      this.#keeper.poke();
    });
    const recorderRole = role('recorder', () => {
      recorder.forget();
      this.recorder.poke();
    });
    const reconcilerRole = role('reconciler', () => this.reconciler.poke());
    const recorder = new Recorder(hub, recorderRole);
    const stale = new StaleEntries();
    this.#env = env;
    this.#flagsEveryMs = config.leaseTtlMs;
    this.#recording = recorder;
    this.#roles = { sweeper: sweeperRole, recorder: recorderRole, reconciler: reconcilerRole };
    this.recorder = task('recorder', (told) => recorder.run(pulse(told)));
    this.promoter = task('promoter', () => promoteDue(hub));
    const admissions = new Admissions();
    this.admitter = task('admitter', () => admitHeld(hub, admissions));
    this.sweeper = task('sweeper', (told) => sweepLapsed(hub, sweeperRole, pulse(told)));
    let markedMs = Number.NEGATIVE_INFINITY;
    const told = new Preemptions();
    const retried: Retried = new Map();
    let retainedMs = env.clock.monotonic();
    this.#keeper = task('keeper', async () => {
      // For what a hub that died had not let in any more; first, whatever else fails.
      this.admitter.poke();
      await expireWaiting(hub, sweeperRole);
      await endOverdue(hub, sweeperRole);
      await fireSchedules(hub, sweeperRole, retried);
      await preempt(hub, sweeperRole, told);
      // Reads every machine: once per lease time is as fine as silence is measured.
      if (env.clock.monotonic() - markedMs >= config.leaseTtlMs) {
        markedMs = env.clock.monotonic();
        await markLost(hub, sweeperRole);
      }
      if (env.clock.monotonic() - retainedMs >= retainEveryMs && !(await retain(hub, sweeperRole)))
        retainedMs = env.clock.monotonic();
      const goesOn = await runBulks(hub, sweeperRole);
      if (sweeperRole.current() === null) return null;
      return goesOn ? 0 : config.sweepEveryMs;
    });
    this.reconciler = task('reconciler', async (told) => {
      await reconcile(hub, reconcilerRole, { stale, pulse: pulse(told) });
      return reconcilerRole.current() === null ? null : config.reconcileEveryMs;
    });
    this.#flags = task('flags', async () => {
      await refreshFlags(hub);
      return config.leaseTtlMs;
    });
  }

  /** Roles that this hub holds now. */
  held(): HubRole[] {
    return (Object.keys(this.#roles) as HubRole[]).filter((name) => this.#roles[name].current() !== null);
  }

  /** Another hub has given these back. */
  freed(roles: readonly HubRole[]): void {
    for (const role of roles) this.#roles[role].freed();
  }

  start(): void {
    for (const role of Object.values(this.#roles)) role.start();
    this.promoter.poke();
    this.admitter.poke();
    this.#flags.poke(this.#flagsEveryMs);
  }

  /** Names of tasks whose last run failed, with the code. */
  faults(): string[] {
    const tasks = {
      recorder: this.recorder,
      promoter: this.promoter,
      admitter: this.admitter,
      sweeper: this.sweeper,
      keeper: this.#keeper,
      flags: this.#flags,
      reconciler: this.reconciler,
    };
    return Object.entries(tasks).flatMap(([name, task]) =>
      task.lastError === null ? [] : [`${name}: ${task.lastError}`],
    );
  }

  /** Claims of the last moment would be unknown to Records where the Broker ends with this process. */
  async #lastRecord(): Promise<void> {
    try {
      await this.#recording.run();
    } catch (error) {
      this.#env.log.warn('record.last.failed', { detail: toEmpError(error).message });
    }
  }

  /** Ends the tasks, copies what happened last, then gives the roles back. */
  async stop(): Promise<void> {
    const { recorder, promoter, admitter, sweeper, reconciler } = this;
    const tasks = [recorder, promoter, admitter, sweeper, this.#keeper, reconciler, this.#flags];
    await Promise.all(tasks.map((task) => task.stop()));
    await this.#lastRecord();
    await Promise.all(Object.values(this.#roles).map((role) => role.stop()));
  }
}
