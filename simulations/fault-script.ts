import { z } from 'zod';
import { LimitDefinition, LimitName } from '#protocol/limit.ts';
import { CustomerName } from '#protocol/names.ts';

/**
 * What goes wrong in a run, and when: plain data, drawn before the run begins, so that a failing run
 * is made smaller by deleting lines. Times are ms since the beginning of the run; machines and hubs
 * are numbered from 0. A fault of a machine that is not part of the run does nothing.
 */

const ms = z.int().min(0).max(3_600_000);
const skewMs = z.int().min(-3_600_000).max(3_600_000);
const at = { atMs: ms };
const machine = z.int().min(0).max(999);
const hub = z.int().min(0).max(99);
const job = z.int().min(0).max(99_999);
const storePort = z.enum(['broker', 'records']);

/** How a frame is spoilt before it arrives. A link is a stream: what is spoilt was written so. */
export const Malformation = z.enum([
  'cut short',
  'not JSON',
  'other version',
  'unknown type',
  'unknown field',
  'answer to nobody',
  'too long',
]);
export type Malformation = z.infer<typeof Malformation>;

/** One schema for each kind of fault; its first line says what happens. */
export const faultSchemas = {
  /** The process ends and comes back `backAfterMs` later as a new one. */
  'machine.crash': z.strictObject({
    ...at,
    kind: z.literal('machine.crash'),
    machine,
    /** Peers hear nothing of it; otherwise its sockets are closed. */
    silent: z.boolean(),
    disk: z.enum(['kept', 'unsynced lost', 'wiped']),
    backAfterMs: ms,
  }),
  /** A provider takes several containers at once, without notice; new ones with empty disks come later. */
  'machine.reclaim': z.strictObject({
    ...at,
    kind: z.literal('machine.reclaim'),
    machines: z.array(machine).min(1).max(1_000),
    backAfterMs: ms,
  }),
  /** Stands still and goes on as if nothing had happened: a suspended VM, a zombie if long enough. */
  'machine.freeze': z.strictObject({
    ...at,
    kind: z.literal('machine.freeze'),
    machine,
    forMs: ms,
    first: z.enum(['timer', 'io']),
  }),
  /** The provider starts a second container under the same machine id. */
  'machine.twin': z.strictObject({ ...at, kind: z.literal('machine.twin'), machine }),
  /** The provider announces a reclaim; the machine drains, ends and comes back later. */
  'machine.drain': z.strictObject({
    ...at,
    kind: z.literal('machine.drain'),
    machine,
    deadlineMs: ms,
    backAfterMs: ms,
  }),
  /** New configuration: the machine drains and comes back with another number of slots and another pool. */
  'machine.reconfigure': z.strictObject({
    ...at,
    kind: z.literal('machine.reconfigure'),
    machine,
    slots: z.int().min(1).max(8),
    backAfterMs: ms,
  }),
  'machine.skew': z.strictObject({ ...at, kind: z.literal('machine.skew'), machine, byMs: skewMs }),
  'link.cut': z.strictObject({ ...at, kind: z.literal('link.cut'), machine }),
  'link.hold': z.strictObject({
    ...at,
    kind: z.literal('link.hold'),
    machine,
    direction: z.enum(['up', 'down']),
    forMs: ms,
  }),
  /**
   * Nothing passes for a while, dials neither, and then all of it does: the packets are sent again. From
   * `completion` on it waits for the next one of the machine, which is the first frame that is held.
   */
  'link.stall': z.strictObject({
    ...at,
    kind: z.literal('link.stall'),
    machine,
    from: z.enum(['now', 'completion']).default('now'),
    forMs: ms,
  }),
  /** Half-open: frames vanish and nobody is told. */
  'link.vanish': z.strictObject({
    ...at,
    kind: z.literal('link.vanish'),
    machine,
    direction: z.enum(['up', 'down', 'both']),
  }),
  /** Machine and hub do not reach each other: frames vanish, dials get no answer. */
  'link.partition': z.strictObject({ ...at, kind: z.literal('link.partition'), machine, hub, forMs: ms }),
  /** The next frames arrive spoilt, or a spoilt one arrives before each of them. */
  'link.malformed': z.strictObject({
    ...at,
    kind: z.literal('link.malformed'),
    machine,
    direction: z.enum(['up', 'down']),
    how: Malformation,
    replaces: z.boolean(),
    frames: z.int().min(1).max(100),
  }),
  /** The Broker's server comes back empty; perhaps once more while it is being rebuilt. */
  'broker.lose': z.strictObject({ ...at, kind: z.literal('broker.lose'), again: z.boolean() }),
  /** The Broker's server comes back without its last writes. */
  'broker.rollback': z.strictObject({ ...at, kind: z.literal('broker.rollback'), lostMs: ms }),
  'broker.down': z.strictObject({ ...at, kind: z.literal('broker.down'), forMs: ms }),
  /** A replica without the last writes takes over after a while; calls under way lose their answers. */
  'broker.failover': z.strictObject({ ...at, kind: z.literal('broker.failover'), lostMs: ms, forMs: ms }),
  'records.down': z.strictObject({ ...at, kind: z.literal('records.down'), forMs: ms }),
  /** A replica with every commit takes over after a while; calls under way lose their answers. */
  'records.failover': z.strictObject({ ...at, kind: z.literal('records.failover'), forMs: ms }),
  'objects.down': z.strictObject({ ...at, kind: z.literal('objects.down'), forMs: ms }),
  'hub.crash': z.strictObject({
    ...at,
    kind: z.literal('hub.crash'),
    hub,
    silent: z.boolean(),
    backAfterMs: ms,
  }),
  'hub.freeze': z.strictObject({ ...at, kind: z.literal('hub.freeze'), hub, forMs: ms }),
  /** Told to stop, as by a rolling replacement; a new one comes `backAfterMs` after it has ended. */
  'hub.stop': z.strictObject({ ...at, kind: z.literal('hub.stop'), hub, backAfterMs: ms }),
  'hub.skew': z.strictObject({ ...at, kind: z.literal('hub.skew'), hub, byMs: skewMs }),
  /** This hub alone does not reach a store; its calls fail after `waitMs`. */
  'hub.cutoff': z.strictObject({
    ...at,
    kind: z.literal('hub.cutoff'),
    hub,
    port: storePort,
    forMs: ms,
    waitMs: ms,
  }),
  /** Every hub ends at once. */
  'hubs.down': z.strictObject({
    ...at,
    kind: z.literal('hubs.down'),
    silent: z.boolean(),
    backAfterMs: ms,
  }),
  /** The links between this hub and others end. */
  'peer.cut': z.strictObject({ ...at, kind: z.literal('peer.cut'), hub }),
  /** What the hub says to others, or hears of them, waits. */
  'peer.hold': z.strictObject({
    ...at,
    kind: z.literal('peer.hold'),
    hub,
    direction: z.enum(['up', 'down']),
    forMs: ms,
  }),
  /** The hub and the others do not reach each other; machines, clients and stores reach all of them. */
  'peer.partition': z.strictObject({ ...at, kind: z.literal('peer.partition'), hub, forMs: ms }),
  /** As `link.malformed`, between hubs. */
  'peer.malformed': z.strictObject({
    ...at,
    kind: z.literal('peer.malformed'),
    hub,
    how: Malformation,
    replaces: z.boolean(),
    frames: z.int().min(1).max(100),
  }),
  /** The next call of that method does its work and its reply is lost. */
  'reply.lost': z.strictObject({
    ...at,
    kind: z.literal('reply.lost'),
    hub,
    port: storePort,
    method: z.string().max(64),
  }),
  /** The next call of that method is stalled for longer than anybody planned, before or after its effect. */
  'call.stalled': z.strictObject({
    ...at,
    kind: z.literal('call.stalled'),
    hub,
    port: storePort,
    method: z.string().max(64),
    when: z.enum(['before', 'after']),
    forMs: ms,
  }),
  /** The stores' and hubs' wall clock steps. */
  'wall.jump': z.strictObject({ ...at, kind: z.literal('wall.jump'), byMs: skewMs }),
  /** Somebody else fills the disk: `freeBytes` more may be written. */
  'disk.full': z.strictObject({
    ...at,
    kind: z.literal('disk.full'),
    machine,
    freeBytes: z.int().min(0).max(1_000_000_000),
    forMs: ms,
  }),
  /** Each read and write of the disk takes this long. */
  'disk.slow': z.strictObject({ ...at, kind: z.literal('disk.slow'), machine, callMs: ms, forMs: ms }),
  /** Downloads arrive with a wrong byte. */
  'download.corrupt': z.strictObject({ ...at, kind: z.literal('download.corrupt'), machine, forMs: ms }),
  /** The kernel kills the service for its memory (exit 137): its runs fail, and it must be started again. */
  'service.crash': z.strictObject({ ...at, kind: z.literal('service.crash'), machine }),
  /** The service answers nothing, probes neither, and does not hear that it should stop. */
  'service.hang': z.strictObject({ ...at, kind: z.literal('service.hang'), machine, forMs: ms }),
  /** The driver does not answer for the card. */
  'gpu.lost': z.strictObject({ ...at, kind: z.literal('gpu.lost'), machine, forMs: ms }),
  /** An operator gives the machine no more work for a while. */
  'operator.cordon': z.strictObject({ ...at, kind: z.literal('operator.cordon'), machine, forMs: ms }),
  /** An operator drains the machine through a hub; its provider starts it again. */
  'operator.drain': z.strictObject({
    ...at,
    kind: z.literal('operator.drain'),
    machine,
    deadlineMs: ms,
    backAfterMs: ms,
  }),
  /** An operator sets a limit of this name, which may be there already, and takes it back later. */
  'operator.limit': z.strictObject({
    ...at,
    kind: z.literal('operator.limit'),
    name: LimitName,
    definition: LimitDefinition,
    forMs: ms,
  }),
  /** An operator holds all work of a customer back for a while. */
  'operator.pause': z.strictObject({
    ...at,
    kind: z.literal('operator.pause'),
    customer: CustomerName,
    forMs: ms,
  }),
  'client.cancel': z.strictObject({ ...at, kind: z.literal('client.cancel'), job }),
  /** An operator requeues one of the jobs that ended without success; refused for any other job. */
  'client.requeue': z.strictObject({ ...at, kind: z.literal('client.requeue'), job }),
} as const;

export type FaultKind = keyof typeof faultSchemas;
export const faultKinds = Object.keys(faultSchemas) as FaultKind[];
export type Fault = { [K in FaultKind]: z.infer<(typeof faultSchemas)[K]> }[FaultKind];
export type FaultOf<K extends FaultKind> = Extract<Fault, { kind: K }>;

const [first, ...others] = Object.values(faultSchemas);
/** Any fault, chosen by its kind; refusals name the field. */
export const Fault: z.ZodType<Fault, Fault> = z.discriminatedUnion('kind', [
  first as (typeof faultSchemas)['machine.crash'],
  ...others,
]) as unknown as z.ZodType<Fault, Fault>;
