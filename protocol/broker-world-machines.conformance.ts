import { expect } from 'vitest';
import type { BrokerView, ClaimAnswer, ClaimRequest } from './broker.ts';
import { RigMachine } from './broker-fixture.conformance.ts';
import { HubWorld } from './broker-world.conformance.ts';
import { type MachineRef, machineKey } from './names.ts';
import type { FencingToken } from './token.ts';

/** What could be claimed before a claim, and all that was here. */
interface Before {
  claimable: BrokerView[];
  views: BrokerView[];
}

interface Run {
  jobId: string;
  token: FencingToken;
}

function without({ claimable, views }: Before, jobId: string): Before {
  const isOther = (view: BrokerView) => view.jobId !== jobId;
  return { claimable: claimable.filter(isOther), views: views.filter(isOther) };
}

/** A fresh request, or the machine's last one again. */
function requestOf(machine: RigMachine, isRepeat: boolean, isWarm: boolean): ClaimRequest {
  if (!isRepeat || machine.requestId === 0) machine.requestId++;
  return {
    ...machine.ref,
    requestId: machine.requestId,
    groups: machine.groups.map((group, index) => ({ group, penaltyMs: index * 2_500 })),
    warmLanes: isWarm ? machine.groups.map((group) => ({ group, affinity: 'm', bonusMs: 3_000 })) : [],
    classId: 'c1',
  };
}

/** The machines of the world: each method is one word of one incarnation, checked against the model. */
export class MachineWorld extends HubWorld {
  async enrol(ref: MachineRef, groups: string[]): Promise<void> {
    const { newest, aliveUntil } = this.model.volatile;
    const older = newest.get(ref.machineId) ?? 0;
    const isHolding = async (each: MachineRef) =>
      (await this.model.entries()).some(
        (view) => view.holder && machineKey(view.holder) === machineKey(each),
      );
    const answer = await this.rig.broker.enrol(ref);
    expect(answer.kind).toBe(older > ref.incarnation ? 'superseded' : 'ok');
    if (older < ref.incarnation && older > 0) {
      const olderRef = { machineId: ref.machineId, incarnation: older };
      this.model.leaveIdle(olderRef);
      if (await isHolding(olderRef)) aliveUntil.set(machineKey(olderRef), 0);
      else aliveUntil.delete(machineKey(olderRef));
    }
    const isKept = aliveUntil.has(machineKey(ref)) && (await isHolding(ref));
    if (answer.kind === 'ok' && !isKept) this.model.keepAlive(ref);
    if (!this.machines.some((each) => machineKey(each.ref) === machineKey(ref)))
      this.machines.push(new RigMachine(this.rig.broker, ref, groups));
  }

  async claim(machine: RigMachine, isRepeat: boolean, isWarm: boolean): Promise<void> {
    const request = requestOf(machine, isRepeat, isWarm);
    const before = { claimable: await this.model.claimable(), views: await this.model.entries() };
    this.#claimed({ machine, request, answer: await this.rig.broker.claim(request) }, before);
  }

  /** A machine ends one of its runs, and several ask for their next, all in one step. */
  async turns(
    machine: RigMachine,
    pick: number,
    asking: readonly (readonly [RigMachine, boolean, boolean])[],
  ) {
    const end = this.commitEnd(machine, pick);
    const completions = end === null ? [] : [end];
    const asked = asking.map(([each, ...how]) => ({ machine: each, request: requestOf(each, ...how) }));
    const removed = end === null ? null : await this.removedBy(end);
    let before = { claimable: await this.model.claimable(), views: await this.model.entries() };
    const answer = await this.rig.broker.turns({ completions, claims: asked.map((each) => each.request) });
    expect(answer.completions).toEqual(removed === null ? [] : [{ kind: removed }]);
    if (removed === 'removed') before = without(before, end?.jobId ?? '');
    for (const [at, each] of asked.entries()) {
      const given = answer.claims[at];
      if (given === undefined) throw new Error('a claim was not answered');
      before = this.#claimed({ ...each, answer: given }, before);
    }
  }

  /** Checks an answer against what was there before; answers what is there after it. */
  #claimed(
    { machine, request, answer }: { machine: RigMachine; request: ClaimRequest; answer: ClaimAnswer },
    before: Before,
  ): Before {
    const { model } = this;
    const expects = (kind: ClaimAnswer['kind']) => {
      expect(answer.kind).toBe(kind);
      return before;
    };
    if (!model.open) return expects('closed');
    if ((model.volatile.newest.get(machine.ref.machineId) ?? 0) > machine.ref.incarnation)
      return expects('superseded');
    if (!model.canServe(machine.ref)) return expects('lapsed');
    if (answer.kind === 'empty') {
      expect(model.winner(before.claimable, request)).toBeNull();
      model.enterIdle(machine.ref, machine.groups, request.warmLanes);
      return before;
    }
    if (answer.kind !== 'leased') throw new Error(`claim answered ${answer.kind}`);
    const { jobId, token, group } = answer.lease;
    expect(machine.groups, 'hard groups are never violated').toContain(group);
    this.#granted({ machine, request, run: { jobId, token } }, before);
    model.leaveIdle(machine.ref);
    const held = before.views.find((view) => view.jobId === jobId);
    const left = without(before, jobId);
    if (held !== undefined) left.views.push({ ...held, state: 'leased', token, holder: machine.ref });
    const rest = model.takeIdleForRest(machine.groups, left.claimable);
    expect({ more: answer.more, wake: answer.wake }).toEqual(rest);
    return left;
  }

  #granted(
    { machine, request, run }: { machine: RigMachine; request: ClaimRequest; run: Run },
    { views, claimable }: Before,
  ): void {
    const before = views.find((view) => view.jobId === run.jobId);
    if (before?.state === 'leased') {
      const isRepeat = machine.granted.has(request.requestId);
      expect(isRepeat, 'only a repeat is answered with a lease that stands').toBe(true);
      expect(before).toMatchObject({ holder: machine.ref, token: run.token });
    } else {
      expect(run.jobId).toBe(this.model.winner(claimable, request));
      this.model.grant(run.jobId, run.token);
      if (before) this.model.served(before);
    }
    machine.granted.add(request.requestId);
    machine.running = [...machine.running.filter((each) => each.jobId !== run.jobId), run];
  }

  async beat(
    machine: RigMachine,
    how: { idle: boolean; omit: boolean; isOpenRequest: boolean },
  ): Promise<void> {
    const { model } = this;
    const running = how.omit ? machine.running.slice(1) : machine.running;
    const groups = how.idle ? machine.groups.map((group) => ({ group, penaltyMs: 0 })) : [];
    const openRequestId = how.isOpenRequest && machine.requestId > 0 ? machine.requestId : null;
    const holdsAny = (await model.entries()).some(
      (v) => v.holder && machineKey(v.holder) === machineKey(machine.ref),
    );
    const answer = await machine.beat({ running, groups, openRequestId });
    // A beat adopts first: what it has taken back waits no more.
    const work = (await model.claimable()).some((view) => machine.groups.includes(view.group));
    if ((model.volatile.newest.get(machine.ref.machineId) ?? 0) > machine.ref.incarnation) {
      machine.running = [];
      return expect(answer.kind).toBe('superseded');
    }
    const endsMs = model.volatile.aliveUntil.get(machineKey(machine.ref)) ?? 0;
    if (model.open && holdsAny && endsMs <= model.nowMs) {
      machine.running = [];
      return expect(answer.kind).toBe('lapsed');
    }
    if (answer.kind !== 'ok') throw new Error(`beat answered ${answer.kind}`);
    model.keepAlive(machine.ref);
    expect([answer.closed, answer.work]).toEqual([!model.open, model.open && how.idle && work]);
    if (!model.open) expect([answer.drop, answer.unnamed]).toEqual([[], []]);
    for (const { jobId, token } of model.open ? running : []) {
      const view = await this.rig.broker.inspect(jobId);
      const holds =
        view?.token === token && view.holder !== null && machineKey(view.holder) === machineKey(machine.ref);
      expect(answer.drop.includes(jobId)).toBe(!holds);
    }
    machine.running = machine.running.filter((run) => !answer.drop.includes(run.jobId));
    if (model.open && !how.idle) model.leaveIdle(machine.ref);
    if (model.open && how.idle && !work) model.enterIdle(machine.ref, machine.groups, null);
    for (const lease of answer.unnamed) await this.endRun(lease, 'release', false);
  }

  async passWake(machine: RigMachine): Promise<void> {
    this.model.leaveIdle(machine.ref);
    const answer = await this.rig.broker.passWake({ ...machine.ref, groups: machine.groups });
    expect(answer.wake).toEqual(
      this.model.takeIdleForRest(machine.groups, await this.model.claimable()).wake,
    );
  }

  async shorten(machine: RigMachine): Promise<void> {
    const { aliveUntil } = this.model.volatile;
    const endsMs = aliveUntil.get(machineKey(machine.ref));
    this.model.leaveIdle(machine.ref);
    if (this.model.open && endsMs !== undefined)
      aliveUntil.set(machineKey(machine.ref), Math.min(endsMs, this.model.nowMs + 5_000));
    await this.rig.broker.shorten({ ...machine.ref, restMs: 5_000 });
  }

  async leave(machine: RigMachine): Promise<void> {
    const held = (await this.model.entries()).filter(
      (v) => v.holder && machineKey(v.holder) === machineKey(machine.ref),
    );
    const { leases } = await this.rig.broker.leave(machine.ref);
    expect(leases).toEqual(held.map(({ jobId, token }) => ({ jobId, token })));
    this.model.leaveIdle(machine.ref);
    machine.running = [];
    if (leases.length === 0) this.model.volatile.aliveUntil.delete(machineKey(machine.ref));
    for (const lease of leases) await this.endRun(lease, 'release', false);
  }
}
