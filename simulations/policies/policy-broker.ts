import type {
  BeatRequest,
  Broker,
  BrokerEntry,
  ClaimAnswer,
  ClaimRequest,
  TurnsAnswer,
  Wake,
} from '#protocol/broker.ts';
import type { Fleet } from './fleet.ts';
import type { Policy } from './policy.ts';

/** More than any penalty or age: the lane that is named with it wins. */
const certainBonusMs = 1_000_000_000;

/**
 * A Broker whose choices are a policy's. Every job has a lane of its own, so that a claim can name the
 * one job that the policy wants; leases, tokens, beats and ends stay those of the Broker that ships.
 * Idle machines are known to the desk alone: the Broker below is never asked whom to wake.
 */
export function policyBroker(broker: Broker, options: { policy: Policy; fleet: Fleet }): Broker {
  const desk = new Desk(options);
  const claim = async (request: ClaimRequest): Promise<ClaimAnswer> =>
    desk.claimed(request, await broker.claim(desk.claimFor(request)));
  const complete: Broker['complete'] = async (request) => {
    const answer = await broker.complete(request);
    if (answer.kind === 'removed') desk.forget(request.jobId);
    return answer;
  };
  return {
    ...broker,
    claim,
    complete,
    // One after the other: what a policy chooses depends on what the claim before has left.
    async turns({ completions, claims }) {
      const answer: TurnsAnswer = { completions: [], claims: [] };
      for (const request of completions) answer.completions.push(await complete(request));
      for (const request of claims) answer.claims.push(await claim(request));
      return answer;
    },
    async submit(request) {
      const answer = await broker.submit({
        ...request,
        entries: request.entries.map((entry) => desk.ownLane(entry)),
      });
      if (answer.kind !== 'ok') return answer;
      const answers = answer.answers.map((each, index) => {
        const entry = request.entries[index];
        if (each.kind !== 'added' || entry === undefined || entry.notBeforeMs !== null) return each;
        return { ...each, wake: desk.arrive(entry.jobId) };
      });
      return { ...answer, answers };
    },
    async beats(requests) {
      const answer = await broker.beats(requests.map(quiet));
      const answers = answer.answers.map((each, index) => {
        const request = requests[index];
        if (each.kind !== 'ok' || request === undefined || request.groups.length === 0) return each;
        return { ...each, work: desk.idles(request) };
      });
      return { ...answer, answers };
    },
    async exit(request) {
      const answer = await broker.exit(request);
      if (answer.kind === 'requeued')
        return request.notBeforeMs === null ? { ...answer, wake: desk.arrive(request.jobId) } : answer;
      if (answer.kind !== 'unchanged') desk.forget(request.jobId);
      return answer;
    },
    async promote(request) {
      const answer = await broker.promote(request);
      return { ...answer, wakes: answer.promoted.flatMap((jobId) => desk.arrive(jobId) ?? []) };
    },
    async passWake({ machineId, incarnation }) {
      desk.fleet.asked(machineId, { incarnation, idle: false });
      return { wake: desk.anyWake() };
    },
  };
}

/** A beat that keeps leases and enters nothing. */
const quiet = (request: BeatRequest): BeatRequest => ({ ...request, groups: [] });
const nothing = (request: ClaimRequest): ClaimRequest => ({ ...request, groups: [], warmLanes: [] });

/** What the policy is asked, and what its answers mean to the Broker. */
class Desk {
  readonly fleet: Fleet;
  readonly #policy: Policy;
  /** Of the entries, as the hub gave them: what a machine is told of a job must stay that. */
  readonly #entries = new Map<string, { affinity: string; group: string }>();

  constructor(options: { policy: Policy; fleet: Fleet }) {
    this.fleet = options.fleet;
    this.#policy = options.policy;
  }

  ownLane(entry: BrokerEntry): BrokerEntry {
    this.#entries.set(entry.jobId, { affinity: entry.affinity, group: entry.group });
    return { ...entry, affinity: entry.jobId };
  }

  forget(jobId: string): void {
    this.#entries.delete(jobId);
    this.fleet.dequeue(jobId);
  }

  /** Names the lane of the job that the policy wants for this machine; none where it wants none. */
  claimFor(request: ClaimRequest): ClaimRequest {
    const machine = this.fleet.machines.get(request.machineId);
    const jobId = machine === undefined || machine.draining ? null : this.#policy.choose(this.fleet, machine);
    const group = jobId === null ? undefined : this.#entries.get(jobId)?.group;
    if (jobId === null || group === undefined) return nothing(request);
    return {
      ...request,
      groups: [{ group, penaltyMs: 0 }],
      warmLanes: [{ group, affinity: jobId, bonusMs: certainBonusMs }],
    };
  }

  claimed(request: ClaimRequest, answer: ClaimAnswer): ClaimAnswer {
    const { machineId, incarnation } = request;
    this.fleet.asked(machineId, { incarnation, idle: answer.kind === 'empty' });
    if (answer.kind !== 'leased') return answer;
    const { lease } = answer;
    this.fleet.dequeue(lease.jobId);
    const affinity = this.#entries.get(lease.jobId)?.affinity ?? lease.affinity;
    return {
      ...answer,
      lease: { ...lease, affinity },
      more: this.fleet.waiting.size > 0,
      wake: this.anyWake(),
    };
  }

  arrive(jobId: string): Wake {
    const waiting = this.fleet.enqueue(jobId);
    if (waiting === null) return null;
    this.#policy.arrived?.(this.fleet, waiting);
    for (const copy of this.#policy.copies?.(this.fleet, waiting) ?? []) this.fleet.copy(copy);
    return this.#wakeOf(this.#policy.place(this.fleet, waiting));
  }

  /** An idle machine beats: whether the policy has work for it by now. */
  idles({ machineId, incarnation }: BeatRequest): boolean {
    this.fleet.asked(machineId, { incarnation, idle: true });
    const machine = this.fleet.machines.get(machineId);
    return machine !== undefined && !machine.draining && this.#policy.choose(this.fleet, machine) !== null;
  }

  /** An idle machine that the policy has work for by now. */
  anyWake(): Wake {
    if (this.fleet.waiting.size === 0) return null;
    for (const machine of this.fleet.machines.values()) {
      if (machine.idleSinceMs === null || machine.draining) continue;
      if (this.#policy.choose(this.fleet, machine) !== null) return this.#wakeOf(machine.plan.id);
    }
    return null;
  }

  #wakeOf(machineId: string | null): Wake {
    const machine = machineId === null ? undefined : this.fleet.machines.get(machineId);
    if (machine === undefined || machine.incarnation === null) return null;
    // Woken once: it counts as idle again when it has asked in vain.
    machine.idleSinceMs = null;
    return { machineId: machine.plan.id, incarnation: machine.incarnation };
  }
}
