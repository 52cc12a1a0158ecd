import { expect } from 'vitest';
import type { BrokerEntry, BrokerView, EndRequest, ExitRequest } from './broker.ts';
import { type BrokerUnderTest, Rig, type RigMachine } from './broker-fixture.conformance.ts';
import { BrokerModel, type Row } from './broker-model.conformance.ts';
import { type MachineRef, machineKey } from './names.ts';
import { compareTokens, type FencingToken, maxToken, tokenAfter } from './token.ts';

export type ExitKind = 'release' | 'backoff' | 'fail' | 'dead';

/** Longest that a hub may stall between a commit and its Broker step; tombstones live longer. */
const stallLimitMs = 600_000;

/** Hubs and Records around one Broker: each method is one step, and checks what it is answered. */
export class HubWorld {
  readonly model: BrokerModel;
  readonly machines: RigMachine[] = [];
  readonly rig: Rig;
  readonly #stalled: { sinceMs: number; run: () => Promise<void> }[] = [];

  constructor(under: BrokerUnderTest) {
    this.rig = new Rig(under);
    this.model = new BrokerModel(this.rig);
  }

  // --- jobs ------------------------------------------------------------------------------------

  async submit(
    jobId: string,
    over: Partial<BrokerEntry> & { delayMs: number | null },
    isStalled: boolean,
  ): Promise<void> {
    if (this.model.rows.has(jobId)) return;
    const { delayMs, ...fields } = over;
    const notBeforeMs = delayMs === null ? null : (await this.rig.now()) + delayMs;
    await this.drive(this.model.addRow(jobId, { ...fields, notBeforeMs }), isStalled);
  }

  /** The second half of a submit: `isStalled` lets it arrive later, with the row as it was. */
  async drive(row: Row, isStalled = false): Promise<void> {
    const identity = await this.rig.identity();
    const entry = { ...row.entry, lease: row.lease };
    const run = async () => {
      const before = await this.rig.broker.inspect(entry.jobId);
      const answer = await this.rig.broker.submit({ identity, entries: [entry] });
      if (answer.kind !== 'ok')
        return expect(answer.kind === 'closed' || identity !== (await this.rig.identity())).toBe(true);
      expect(this.model.open).toBe(true);
      const [one] = answer.answers;
      if (one?.kind === 'added') await this.#placed(entry.jobId, before?.rebuilt ?? false, one.wake);
      const isPresent = one?.kind === 'added' || one?.kind === 'exists';
      if (isPresent && compareTokens(row.entry.fenceFloor, entry.fenceFloor) === 0) row.brokered = true;
    };
    await (isStalled ? this.#stall(run) : run());
  }

  async #placed(jobId: string, isFromLoss: boolean, wake: MachineRef | null): Promise<void> {
    const view = await this.rig.broker.inspect(jobId);
    this.model.rests(jobId, isFromLoss);
    if (view?.holder) this.leasedAgain(jobId, view.holder);
    const isClaimable =
      view?.state === 'waiting' && this.model.open && !this.model.volatile.quarantine.has(jobId);
    expect(wake).toEqual(isClaimable ? this.model.takeIdle(view) : null);
  }

  /** A re-drive gives an incarnation that is not known here one lease time. */
  leasedAgain(jobId: string, holder: MachineRef): void {
    this.model.volatile.quarantine.delete(jobId);
    if (!this.model.volatile.aliveUntil.has(machineKey(holder))) this.model.keepAlive(holder);
  }

  #stall(run: () => Promise<void>): void {
    this.#stalled.push({ sinceMs: this.model.nowMs, run });
  }

  get stalled(): number {
    return this.#stalled.length;
  }

  /** A hub that stalled does its Broker step at last. */
  async deliver(): Promise<void> {
    const next = this.#stalled.shift();
    if (next !== undefined && this.model.nowMs - next.sinceMs < stallLimitMs) await next.run();
  }

  async cancel(jobId: string, isStalled: boolean): Promise<void> {
    const row = this.model.rows.get(jobId);
    if (row === undefined || row.end !== null) return;
    row.cancelRequested = true;
    const fenceFloor = row.entry.fenceFloor;
    const run = () => this.finishCancel(row, fenceFloor);
    await (isStalled ? this.#stall(run) : run());
  }

  async finishCancel(row: Row, fenceFloor: FencingToken): Promise<void> {
    const { jobId } = row.entry;
    const before = await this.rig.broker.inspect(jobId);
    const answer = await this.rig.broker.cancel({ jobId, fenceFloor });
    const isOurs = before !== null && compareTokens(before.fenceFloor, fenceFloor) <= 0;
    const expected = !isOurs ? 'unknown' : before.state === 'leased' ? 'requested' : 'removed';
    expect(answer.kind).toBe(expected);
    if (answer.kind !== 'requested' && row.end === null && row.cancelRequested) this.#end(row, 'cancelled');
  }

  #end(row: Row, end: Row['end']): void {
    row.end = end;
    if (row.lease !== null)
      row.entry.fenceFloor = maxToken(row.entry.fenceFloor, tokenAfter(row.lease.token));
    row.lease = null;
  }

  async requeue(jobId: string, isStalled: boolean): Promise<void> {
    const row = this.model.rows.get(jobId);
    if (row === undefined || row.end === null || row.end === 'succeeded') return;
    const entry = {
      ...row.entry,
      fenceFloor: tokenAfter(row.entry.fenceFloor),
      attempts: 0,
      notBeforeMs: null,
    };
    Object.assign(row, { entry, end: null, cancelRequested: false, brokered: false, lease: null });
    await this.drive(row, isStalled);
  }

  /** The reconciler's ordinary work: rows that never reached the Broker, cancels without an end. */
  async redrive(): Promise<void> {
    if (!this.model.open) return;
    for (const row of this.model.rows.values()) {
      if (row.end !== null) continue;
      if (row.cancelRequested) await this.finishCancel(row, row.entry.fenceFloor);
      else if (!row.brokered) await this.drive(row);
    }
  }

  // --- runs ------------------------------------------------------------------------------------

  async complete(machine: RigMachine, pick: number, isStalled: boolean): Promise<void> {
    const end = this.commitEnd(machine, pick);
    if (end === null) return;
    const step = async () => {
      const kind = await this.removedBy(end);
      expect(await this.rig.broker.complete(end)).toEqual({ kind });
    };
    await (isStalled ? this.#stall(step) : step());
  }

  /** A machine's run ends and its row succeeds, where the token stands; the Broker step is still to come. */
  commitEnd(machine: RigMachine, pick: number): EndRequest | null {
    const run = machine.running[pick % machine.running.length];
    if (run === undefined) return null;
    machine.running = machine.running.filter((each) => each !== run);
    const row = this.model.row(run.jobId);
    if (row.end === null && compareTokens(run.token, row.entry.fenceFloor) < 0) return null;
    if (row.end === null) {
      row.end = 'succeeded';
      row.lease = null;
    }
    return { ...run, fenceFloor: row.entry.fenceFloor };
  }

  /** What the Broker must answer to a completion, by what is there now. */
  async removedBy(end: EndRequest): Promise<'removed' | 'unchanged'> {
    const before = await this.rig.broker.inspect(end.jobId);
    const isOurs = before !== null && compareTokens(before.fenceFloor, end.fenceFloor) <= 0;
    return isOurs ? 'removed' : 'unchanged';
  }

  async exit(machine: RigMachine, pick: number, kind: ExitKind, isStalled: boolean): Promise<void> {
    const run = machine.running[pick % machine.running.length];
    if (run === undefined) return;
    machine.running = machine.running.filter((each) => each !== run);
    await this.endRun(run, kind, isStalled);
  }

  /** Commits the exit where the token stands, then does the Broker step with the row's present state. */
  async endRun(
    run: { jobId: string; token: FencingToken },
    kind: ExitKind,
    isStalled: boolean,
  ): Promise<void> {
    const row = this.model.row(run.jobId);
    if (row.end === null && compareTokens(run.token, row.entry.fenceFloor) >= 0) {
      const notBeforeMs = kind === 'backoff' ? (await this.rig.now()) + 7_000 : null;
      const attempts = row.entry.attempts + (kind === 'release' ? 0 : 1);
      row.entry = { ...row.entry, fenceFloor: tokenAfter(run.token), attempts, notBeforeMs };
      if (row.lease !== null && compareTokens(row.lease.token, run.token) <= 0) row.lease = null;
      if (row.cancelRequested) row.end = 'cancelled';
      else if (kind === 'fail') row.end = 'failed';
      else if (kind === 'dead') row.end = 'dead';
    }
    const { fenceFloor, attempts, runs, notBeforeMs } = row.entry;
    const state = row.end ?? (row.lease ? 'leased' : notBeforeMs === null ? 'waiting' : 'scheduled');
    const cancelRequested = row.cancelRequested && row.end === null;
    const request: ExitRequest = { ...run, fenceFloor, state, attempts, runs, notBeforeMs, cancelRequested };
    const step = () => this.#exitStep(row, request);
    await (isStalled ? this.#stall(step) : step());
  }

  async #exitStep(row: Row, request: ExitRequest): Promise<void> {
    const { jobId } = request;
    const before = await this.rig.broker.inspect(jobId);
    const answer = await this.rig.broker.exit(request);
    expect(answer.kind).toBe(exitAnswer(before, request));
    if (answer.kind === 'requeued') await this.#placed(jobId, before?.rebuilt ?? false, answer.wake);
    if (answer.kind === 'cancelled' && row.end === null && row.cancelRequested) this.#end(row, 'cancelled');
  }
}

/** What an exit must answer, by what was there before it. */
function exitAnswer(before: BrokerView | null, request: ExitRequest): string {
  const isTerminal = !['waiting', 'scheduled', 'leased', 'held'].includes(request.state);
  const isEnd = isTerminal || request.state === 'held';
  if (before === null) return 'unchanged';
  if (isEnd && compareTokens(before.fenceFloor, request.fenceFloor) > 0) return 'unchanged';
  const isOfThisLife = compareTokens(before.fenceFloor, request.fenceFloor) >= 0;
  if (before.cancelRequested && (request.cancelRequested || isOfThisLife))
    return isTerminal ? 'removed' : 'cancelled';
  if (isEnd) return 'removed';
  return before.state === 'leased' && before.token === request.token ? 'requeued' : 'unchanged';
}
