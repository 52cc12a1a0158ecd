import type { Broker, GroupId, Wake } from '#protocol/broker.ts';
import type { ServiceSpec } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { Objects } from '#protocol/objects.ts';
import type { Records } from '#protocol/records.ts';
import type { HubConfig } from '#runtime/hub-config.ts';
import type { Backlog } from './backlog.ts';
import type { Beats } from './beats.ts';
import type { BrokerIdentity } from './broker-identity.ts';
import type { BrokeredMarks } from './brokered-marks.ts';
import type { ClassDirectory } from './class-directory.ts';
import type { Directories } from './directories.ts';
import type { EventsHub } from './events-hub.ts';
import type { GroupDirectory } from './group-directory.ts';
import type { Holds } from './holds.ts';
import type { Lanes } from './lanes.ts';
import type { LimitDirectory } from './limits.ts';
import type { LinkDirectory } from './links.ts';
import type { ModelDirectory } from './model-directory.ts';
import type { PauseDirectory } from './pauses.ts';
import type { Peers } from './peers.ts';
import type { Pulse } from './pulse.ts';
import type { Tokens } from './tokens.ts';
import type { WaitingCounts } from './waiting-counts.ts';
import type { ShownCounts } from './waiting-shown.ts';

export interface HubPorts {
  records: Records;
  broker: Broker;
  objects: Objects;
}

/** What happened on this hub since it started; only rises. */
export interface HubCounters {
  framesIn: number;
  framesMalformed: number;
  framesUnknown: number;
  linksClosedByLimit: number;
  jobsSubmitted: number;
  claims: number;
  completions: number;
  completionsRefused: number;
  wakesSent: number;
  wakesPassedOn: number;
  /** Wakes for a machine of another hub, told to that hub. */
  wakesToPeers: number;
  peerFramesMalformed: number;
  incidents: number;
  /** By retention. */
  jobsForgotten: number;
  eventsForgotten: number;
  /** Subscribers that took nothing for too long. */
  subscribersDropped: number;
}

/**
 * Where a verb says that there is work for a standing task, of this hub or of the one that holds its
 * role. Cheap, never rejects.
 */
export interface HubPokes {
  /** Something was committed: events may wait to be copied and numbered. */
  recorder(delayMs?: number): void;
  /** The Broker is closed, changed or may lack a row. */
  reconciler(): void;
  /** A lease may have ended; with a time: then. */
  sweeper(atMs?: number | null): void;
  /** A delayed entry is due then, by the hub's wall clock. */
  promoter(atMs: number | null): void;
  /** There may be room for what limits hold, or something new is held. */
  admitter(): void;
}

/** All that the verbs of one hub share. Made by compose-hub.ts; holds no socket and no global. */
export interface Hub {
  readonly hubId: string;
  readonly env: Env;
  readonly config: HubConfig;
  readonly records: Records;
  readonly broker: Broker;
  readonly objects: Objects;
  readonly services: ReadonlyMap<string, ServiceSpec>;
  readonly identity: BrokerIdentity;
  readonly pulse: Pulse;
  readonly beats: Beats;
  readonly backlog: Backlog;
  readonly marks: BrokeredMarks;
  readonly groups: GroupDirectory;
  readonly lanes: Lanes;
  readonly holds: Holds;
  readonly classes: ClassDirectory;
  readonly models: ModelDirectory;
  readonly pauses: PauseDirectory;
  readonly limits: LimitDirectory;
  readonly waiting: WaitingCounts;
  readonly waitingShown: ShownCounts;
  /** The directories that claims and beats look into, all at once. */
  readonly directories: Directories;
  readonly links: LinkDirectory;
  /** The other hubs on these stores. */
  readonly peers: Peers;
  readonly events: EventsHub;
  readonly tokens: Tokens;
  readonly counters: HubCounters;
  readonly poke: HubPokes;
  readonly startedAtMonotonicMs: number;
  readonly startedAtMs: number;
  /** True from the first word of a stop: nothing new is begun, no lease shortened. */
  stopping: boolean;
  /** Tells a machine of work; one that is not linked here passes its wake on. Never rejects. */
  wake(machine: Wake, groups: readonly GroupId[]): void;
  /** Work that nobody waits for: logged when it fails, awaited by the stop. */
  background(name: string, work: Promise<unknown>): void;
}
