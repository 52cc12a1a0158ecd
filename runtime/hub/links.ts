import { machineMeets } from '#machines/policy/matching.ts';
import type { GroupId } from '#protocol/broker.ts';
import type { Clock } from '#protocol/env.ts';
import type { HubNotice, HubNoticeType, MachineReport } from '#protocol/link.ts';
import type { Residency } from '#protocol/model.ts';
import type { Incarnation, JobId, MachineId, MachineRef } from '#protocol/names.ts';
import type { Group, MachineClass } from '#protocol/requirements.ts';
import type { FencingToken } from '#protocol/token.ts';

/** A lease that this hub handed to a linked incarnation, kept until it ends. */
export interface Grant {
  token: FencingToken;
  group: GroupId;
  attempts: number;
  /** What was handed out, and when by the monotonic clock; null where another hub or an earlier process did. */
  run: { service: string; expectedMs: number; sinceMonotonicMs: number } | null;
}

/** A machine as this hub holds its link: a plain object, one per joined incarnation. */
export interface MachineLink {
  readonly machineId: MachineId;
  readonly incarnation: Incarnation;
  readonly classId: string;
  readonly machineClass: MachineClass;
  /** How this machine reaches the hub, for URLs of the folder store. */
  readonly baseUrl: string;
  cordoned: boolean;
  draining: boolean;
  readonly residency: Map<string, Residency>;
  readonly granted: Map<JobId, Grant>;
  /** As its last beat named them. */
  running: { jobId: JobId; token: FencingToken }[];
  free: ReadonlySet<string>;
  /** Groups of its last claim or beat: the Broker knows it is idle for these. */
  groups: ReadonlySet<GroupId>;
  /** Its last claim found nothing, or its last beat named free slots. */
  idle: boolean;
  /** The request that was last answered with a job: a beat that calls it open names a slot that is taken by now. */
  leasedRequest: number | null;
  /** Claims of it that are under way here. */
  claiming: number;
  /** What the Broker knows of its free slots by its last beat, and when that was sent; null = its next beat must tell. */
  told: { groups: string; sentMonotonicMs: number } | null;
  report: MachineReport | null;
  reportedAtMonotonicMs: number;
  /** What the machine believes, by its welcome, the last notice or a refused claim: that it may not claim. */
  cordonTold: boolean;
  /** The drain was told on this link. */
  drainTold: boolean;
  /** It said LEAVE: it gets nothing more. */
  leaving: boolean;
  /** Since its last frame, ms. */
  silentMs(): number;
  /** Sends a one-way frame; false if the link is gone or too slow. */
  notify<T extends HubNoticeType>(type: T, body: HubNotice<T>): boolean;
  /** A newer incarnation speaks for this machine: says so and closes the link. */
  supersede(): void;
  close(code: number, reason: string): void;
}

/** When its last frame came, by the hub's wall clock, whole ms. */
export const heardAtMs = (clock: Clock, link: MachineLink): number =>
  Math.floor(clock.now() - link.silentMs());

/** What its last beat named, and what it was given since: ends that this hub has seen are in neither. */
export function runningOn({ granted, running }: MachineLink): MachineLink['running'] {
  const given = [...granted].map(([jobId, { token }]) => ({ jobId, token }));
  return [...given, ...running.filter(({ jobId }) => !granted.has(jobId))];
}

/** The lease of a job has ended, or is no longer the machine's. */
export function endGrant(link: MachineLink, jobId: JobId): void {
  link.granted.delete(jobId);
  link.running = link.running.filter((each) => each.jobId !== jobId);
}

/** The machines linked to this hub, by id: of two incarnations the newer one. */
export class LinkDirectory {
  readonly #links = new Map<MachineId, MachineLink>();
  readonly #joined: (link: MachineRef) => void;
  readonly #left: (link: MachineRef) => void;

  /** `joined` and `left` are told of each machine that this hub can reach from now on, or no more. */
  constructor(options: { joined: (link: MachineRef) => void; left: (link: MachineRef) => void }) {
    this.#joined = options.joined;
    this.#left = options.left;
  }

  get size(): number {
    return this.#links.size;
  }

  all(): MachineLink[] {
    return [...this.#links.values()];
  }

  get(machineId: MachineId): MachineLink | null {
    return this.#links.get(machineId) ?? null;
  }

  /** The link of exactly this incarnation. */
  find(ref: MachineRef): MachineLink | null {
    const link = this.#links.get(ref.machineId);
    return link?.incarnation === ref.incarnation ? link : null;
  }

  /** Takes the place of an older link of the machine, which is answered to be dealt with. */
  put(link: MachineLink): MachineLink | null {
    const older = this.#links.get(link.machineId) ?? null;
    this.#links.set(link.machineId, link);
    this.#joined(link);
    return older;
  }

  /** True if this very link was still the machine's. */
  remove(link: MachineLink): boolean {
    const held = this.#links.get(link.machineId) === link && this.#links.delete(link.machineId);
    if (held) this.#left(link);
    return held;
  }

  /**
   * One idle machine that fits the group but idles without having named it, because the group is
   * newer than its last claim: the Broker cannot know that it fits.
   */
  idleWithout(groupId: GroupId, group: Group): MachineLink | null {
    for (const link of this.#links.values()) {
      if (!link.idle || link.cordoned || link.draining || link.groups.has(groupId)) continue;
      if (link.free.has(group.service) && machineMeets(link, group)) return link;
    }
    return null;
  }
}
