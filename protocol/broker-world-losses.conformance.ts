import { expect } from 'vitest';
import type { BrokerView } from './broker.ts';
import type { BrokerUnderTest } from './broker-fixture.conformance.ts';
import { type BrokerModel, byLane, emptyVolatile } from './broker-model.conformance.ts';
import { MachineWorld } from './broker-world-machines.conformance.ts';
import { machineKey } from './names.ts';
import { compareTokens } from './token.ts';

/** The whole world: standing work of the hubs, time, and a server that loses what it had. */
export class BrokerWorld extends MachineWorld {
  readonly #audit: () => string[];
  #mark: { data: unknown; volatile: BrokerModel['volatile'] } | null = null;

  constructor(under: BrokerUnderTest, audit: () => string[]) {
    super(under);
    this.#audit = audit;
  }

  /** An open Broker and four machines. */
  static async open(
    under: BrokerUnderTest,
    audit: () => string[],
    groups: readonly string[][],
  ): Promise<BrokerWorld> {
    const world = new BrokerWorld(under, audit);
    await world.model.close(emptyVolatile());
    await world.reconcile(false);
    for (const [index, served] of groups.entries())
      await world.enrol({ machineId: `m${index}`, incarnation: 1 }, served);
    return world;
  }

  async step(run: (world: BrokerWorld) => Promise<void>): Promise<void> {
    await run(this);
    await this.model.check(this.#audit);
  }

  async sweep(): Promise<void> {
    const { model } = this;
    const views = await model.entries();
    const answer = await this.rig.broker.lapsed({ limit: 1_000 });
    if (!model.open) return expect(answer.kind).toBe('closed');
    if (answer.kind !== 'ok') throw new Error('an open Broker answered closed');
    const ended = (view: BrokerView) =>
      view.holder !== null && (model.volatile.aliveUntil.get(machineKey(view.holder)) ?? 0) <= model.nowMs;
    expect(answer.leases.map((each) => each.jobId).sort()).toEqual(
      views.filter(ended).map((view) => view.jobId),
    );
    for (const machine of this.machines) {
      const key = machineKey(machine.ref);
      if ((model.volatile.aliveUntil.get(key) ?? 0) > model.nowMs) continue;
      if (model.volatile.aliveUntil.has(key)) model.leaveIdle(machine.ref);
      if (!views.some((view) => view.holder && machineKey(view.holder) === key))
        model.volatile.aliveUntil.delete(key);
    }
    for (const lease of answer.leases) await this.endRun(lease, lease.rebuilt ? 'release' : 'backoff', false);
  }

  async promote(): Promise<void> {
    const { model } = this;
    const before = await model.entries();
    const nowMs = await this.rig.now();
    const answer = await this.rig.broker.promote({ limit: 1_000 });
    if (!model.open) return expect(answer).toEqual({ promoted: [], wakes: [], nextInMs: null });
    const drained =
      model.settledAtMs > model.nowMs
        ? []
        : model.volatile.generations.flatMap((generation) => {
            const members = before.filter(
              (view) => view.state !== 'leased' && model.volatile.quarantine.get(view.jobId) === generation,
            );
            const byTime = (a: BrokerView, b: BrokerView) =>
              (a.notBeforeMs ?? 0) - (b.notBeforeMs ?? 0) || (a.jobId < b.jobId ? -1 : 1);
            const rest = (state: string) => members.filter((view) => view.state === state);
            return [...rest('waiting').sort(byLane), ...rest('delayed').sort(byTime)];
          });
    if (model.settledAtMs <= model.nowMs) {
      model.volatile.quarantine.clear();
      model.volatile.generations = [];
    }
    const due = answer.promoted.map((jobId) => before.find((view) => view.jobId === jobId));
    for (const view of due) expect(view?.state === 'delayed' && (view.notBeforeMs ?? 0) <= nowMs).toBe(true);
    const isDue = (view: BrokerView) => view.notBeforeMs === null || view.notBeforeMs <= nowMs;
    const moved = [...drained.filter(isDue), ...due.filter((view) => view !== undefined)];
    expect(answer.wakes).toEqual(moved.map((view) => model.takeIdle(view)).filter((wake) => wake !== null));
    const late = (await model.entries()).filter(
      (view) => view.state === 'delayed' && isDue(view) && !model.volatile.quarantine.has(view.jobId),
    );
    expect(
      late.map((view) => view.jobId),
      'what is due is promoted',
    ).toEqual([]);
  }

  async advance(ms: number): Promise<void> {
    await this.rig.under.advance(ms);
    this.model.nowMs += ms;
  }

  /** The recorder: what the Broker tells of leases reaches the rows. */
  async record(): Promise<void> {
    const { identity, events } = await this.rig.broker.events({ after: 0, limit: 1_000 });
    for (const event of events) {
      if (event.kind !== 'leased' && event.kind !== 'adopted') continue;
      const row = this.model.row(event.jobId);
      if (row.end !== null || compareTokens(event.token, row.entry.fenceFloor) < 0) continue;
      if (row.lease !== null && compareTokens(row.lease.token, event.token) >= 0) continue;
      const { machineId, incarnation, token } = event;
      if (machineId === null || incarnation === null) throw new Error('a lease event without a holder');
      row.lease = { token, machineId, incarnation };
      row.entry = { ...row.entry, runs: Math.max(row.entry.runs, event.run), notBeforeMs: null };
    }
    const last = events.at(-1);
    if (last !== undefined) await this.rig.broker.trimEvents({ identity, upTo: last.id });
  }

  async mark(): Promise<void> {
    this.#mark = { data: await this.rig.under.mark(), volatile: this.model.copyVolatile() };
  }

  /** The server is another one, a little later: `rollback` where there is a mark. */
  async lose(how: 'restart' | 'loseAll' | 'rollback'): Promise<void> {
    const { under } = this.rig;
    const mark = how === 'rollback' ? this.#mark : null;
    if (how === 'restart') await under.restart();
    else if (mark !== null) await under.rollback(mark.data);
    else await under.loseAll();
    await this.advance(1);
    await this.model.close(
      how === 'restart' ? this.model.copyVolatile() : (mark?.volatile ?? emptyVolatile()),
    );
    this.#mark = null;
  }

  /** A full reconcile as the hub does it; `isInterrupted` by another loss before its end. */
  async reconcile(isInterrupted: boolean): Promise<void> {
    const { model } = this;
    if (model.open) return;
    const ticket = await this.rig.start();
    const rows = [...model.rows.values()].filter((row) => row.end === null);
    const wanted = rows.filter((row) => !row.cancelRequested);
    const entries = wanted.map((row) => ({ ...row.entry, lease: row.lease }));
    const answer = await this.rig.broker.submit({ identity: ticket.identity, ticket, entries });
    if (answer.kind !== 'ok') throw new Error(`the re-drive answered ${answer.kind}`);
    for (const [index, row] of wanted.entries()) {
      const kind = answer.answers[index]?.kind;
      row.brokered = kind === 'added' || kind === 'exists';
      const view = await this.rig.broker.inspect(row.entry.jobId);
      if (kind === 'added' && view?.state !== 'leased') model.rests(row.entry.jobId, true);
      if (kind === 'added' && view?.holder) this.leasedAgain(row.entry.jobId, view.holder);
    }
    for (const row of rows) if (row.cancelRequested) await this.finishCancel(row, row.entry.fenceFloor);
    for (const { jobId } of await this.rig.broker.list({ after: null, limit: 1_000 })) {
      const row = model.row(jobId);
      const { fenceFloor } = row.entry;
      if (row.end !== null) await this.rig.broker.complete({ jobId, token: fenceFloor, fenceFloor });
    }
    if (isInterrupted) {
      await this.lose('restart');
      return expect(await this.rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'changed' });
    }
    expect(await this.rig.broker.reconcileFinish(ticket)).toEqual({ kind: 'open' });
    model.opened();
  }

  /** Faults are over: with beats, sweeps, re-drives and one machine for all, every job must end. */
  async heal(groups: string[]): Promise<void> {
    while (this.stalled > 0) await this.step((world) => world.deliver());
    await this.step((world) => world.reconcile(false));
    const ref = { machineId: 'healer', incarnation: 1 };
    await this.step((world) => world.enrol(ref, groups));
    const healer = this.machines.find((each) => each.ref.machineId === 'healer');
    if (healer === undefined) throw new Error('nobody was enrolled to heal');
    const unfinished = () => [...this.model.rows.values()].filter((row) => row.end === null);
    for (let round = 0; round < 30; round++) {
      await this.step((world) => world.beat(healer, { idle: true, omit: false, isOpenRequest: false }));
      for (const work of ['redrive', 'sweep', 'promote', 'record'] as const)
        await this.step((world) => world[work]());
      for (let more = true; more; ) {
        await this.step((world) => world.claim(healer, false, false));
        more = healer.running.length > 0;
        await this.step((world) => world.complete(healer, 0, false));
      }
      if (unfinished().length === 0 && (await this.model.entries()).length === 0) break;
      await this.step((world) => world.advance(5_000));
    }
    const left = unfinished().map((row) => row.entry.jobId);
    expect(left, 'every job ends once the faults are over').toEqual([]);
    expect(await this.model.entries()).toEqual([]);
  }
}
