import { expect } from 'vitest';
import type { BrokerView } from './broker.ts';
import { RigMachine } from './broker-fixture.conformance.ts';
import { HubWorld } from './broker-world.conformance.ts';
import { type MachineRef, machineKey } from './names.ts';
import type { FencingToken } from './token.ts';

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
    const { model } = this;
    const [claimable, views] = [await model.claimable(), await model.entries()];
    const request = {
      groups: machine.groups.map((group, index) => ({ group, penaltyMs: index * 2_500 })),
      warmLanes: isWarm ? machine.groups.map((group) => ({ group, affinity: 'm', bonusMs: 3_000 })) : [],
    };
    const repeats = isRepeat && machine.requestId > 0;
    const answer = await machine.claim({ ...request, ...(repeats ? { requestId: machine.requestId } : {}) });
    if (!model.open) return expect(answer.kind).toBe('closed');
    if ((model.volatile.newest.get(machine.ref.machineId) ?? 0) > machine.ref.incarnation)
      return expect(answer.kind).toBe('superseded');
    if (!model.canServe(machine.ref)) return expect(answer.kind).toBe('lapsed');
    if (answer.kind === 'empty') {
      expect(model.winner(claimable, request)).toBeNull();
      return model.enterIdle(machine.ref, machine.groups, request.warmLanes);
    }
    if (answer.kind !== 'leased') throw new Error(`claim answered ${answer.kind}`);
    const { lease } = answer;
    expect(machine.groups, 'hard groups are never violated').toContain(lease.group);
    this.#granted(machine, lease, { views, winner: model.winner(claimable, request), repeats });
    model.leaveIdle(machine.ref);
    expect({ more: answer.more, wake: answer.wake }).toEqual(await model.takeIdleForRest(machine.groups));
  }

  #granted(
    machine: RigMachine,
    lease: { jobId: string; token: FencingToken },
    was: { views: BrokerView[]; winner: string | null; repeats: boolean },
  ): void {
    const before = was.views.find((view) => view.jobId === lease.jobId);
    const run = { jobId: lease.jobId, token: lease.token };
    if (before?.state === 'leased') {
      expect(was.repeats, 'only a repeat is answered with a lease that stands').toBe(true);
      expect(before).toMatchObject({ holder: machine.ref, token: lease.token });
    } else {
      expect(lease.jobId).toBe(was.winner);
      this.model.grant(lease.jobId, lease.token);
      if (before) this.model.served(before);
    }
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
    const work = (await model.claimable()).some((view) => machine.groups.includes(view.group));
    const holdsAny = (await model.entries()).some(
      (v) => v.holder && machineKey(v.holder) === machineKey(machine.ref),
    );
    const answer = await machine.beat({ running, groups, openRequestId });
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
    expect(answer.wake).toEqual((await this.model.takeIdleForRest(machine.groups)).wake);
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
