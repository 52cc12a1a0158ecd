import { z } from 'zod';
import { claimGroupsLimit } from './broker.ts';
import { HUB_NOTICES } from './link.ts';
import { HubId, MachineRef } from './names.ts';
import { GroupId } from './requirements.ts';

/**
 * Frames between two hubs on one store. JSON text, one frame a message, `{v, type, body}`. None asks
 * for an answer and every one may be lost: what they hasten comes anyway, by beats, timers and reads
 * of the stores. Version n speaks to n−1: unknown frame types are counted and skipped.
 */
export const hubLinkVersion = 1;
/** Path of the WebSocket on which a hub takes other hubs. */
export const hubLinkPath = '/v1/peer';
/** Longest frame, characters. */
export const hubFrameLimit = 262_144;
/** Machines that one frame may name. */
export const linkedPageLimit = 500;
/** Machines that one wake is offered to, over all hubs, before it is given up. */
export const wakeHopsLimit = 8;

/** Work that one hub of all does. */
export const HubRole = z.enum(['sweeper', 'recorder', 'reconciler']);
export type HubRole = z.infer<typeof HubRole>;

const Machines = z.array(MachineRef).min(1).max(linkedPageLimit);

/** A notice for a machine that is linked to the other hub. */
const Tell = z.discriminatedUnion('notice', [
  z.strictObject({ machine: MachineRef, notice: z.literal('cancel'), body: HUB_NOTICES.cancel }),
  z.strictObject({ machine: MachineRef, notice: z.literal('preempt'), body: HUB_NOTICES.preempt }),
  z.strictObject({ machine: MachineRef, notice: z.literal('drop'), body: HUB_NOTICES.drop }),
  z.strictObject({ machine: MachineRef, notice: z.literal('drain'), body: HUB_NOTICES.drain }),
  z.strictObject({ machine: MachineRef, notice: z.literal('cordon'), body: HUB_NOTICES.cordon }),
]);

export const HUB_FRAMES = {
  /** The first frame of both sides. The id and run are those of the token with which the link was made. */
  hello: z.strictObject({
    hubId: HubId,
    run: z.int().min(0),
    /** Version of the program, for people. */
    software: z.string().max(64),
    roles: z.array(HubRole).max(HubRole.options.length),
  }),
  /** Nothing else was said for a while. */
  alive: z.strictObject({}),
  /** The sender holds the links of these machines: after hello all of them, then whoever joins. */
  linked: z.strictObject({ machines: Machines }),
  unlinked: z.strictObject({ machines: Machines }),
  /** The roles that the sender holds from now on. */
  roles: z.strictObject({ held: z.array(HubRole).max(HubRole.options.length) }),
  /** Work waits for this idle machine. A hub that cannot tell it passes the wake on while hops are left. */
  wake: z.strictObject({
    machine: MachineRef,
    groups: z.array(GroupId).max(claimGroupsLimit),
    hops: z.int().min(1).max(wakeHopsLimit),
  }),
  /** Work came to a group that no idle machine has named yet: the Broker cannot know whom to wake. */
  work: z.strictObject({ group: GroupId }),
  tell: Tell,
  /** An operator changed what this machine may do; it is told with a notice beside. */
  flags: z.strictObject({ machine: MachineRef, cordoned: z.boolean(), draining: z.boolean() }),
  /** There is work for a role that the receiver holds; `atMs` (wall time) only for the sweeper, null = now. */
  poke: z.strictObject({ role: HubRole, atMs: z.number().nullable() }),
  /** Events up to this number can be read. */
  recorded: z.strictObject({ highestSeq: z.int().min(0) }),
  /** The sender stops: its machines are on their way to other hubs. */
  closing: z.strictObject({}),
} as const;
export type HubFrameType = keyof typeof HUB_FRAMES;
export type HubFrame<T extends HubFrameType> = z.infer<(typeof HUB_FRAMES)[T]>;
/** A checked frame. */
export type AnyHubFrame = { [T in HubFrameType]: { type: T; body: HubFrame<T> } }[HubFrameType];
export type Tell = HubFrame<'tell'>;

const Envelope = z.strictObject({
  v: z.int().min(1),
  type: z.string().min(1).max(32),
  body: z.record(z.string(), z.unknown()),
});

export type DecodedHubFrame =
  | { kind: 'ok'; frame: AnyHubFrame }
  /** Of a newer version: nothing of this one is missing without it. */
  | { kind: 'unknown'; type: string }
  | { kind: 'invalid'; detail: string };

/** Checks size, JSON, envelope and body of a frame. Never throws. */
export function decodeHubFrame(text: string): DecodedHubFrame {
  if (text.length > hubFrameLimit)
    return invalid(`frame of ${text.length} characters is over the limit of ${hubFrameLimit}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return invalid(`frame is not JSON: ${(error as Error).message}`);
  }
  const envelope = Envelope.safeParse(json);
  if (!envelope.success) return invalid(z.prettifyError(envelope.error));
  const { v, type, body } = envelope.data;
  if (!Object.hasOwn(HUB_FRAMES, type)) return { kind: 'unknown', type };
  // A later version may add fields; what this one knows must still have its form.
  const schema = HUB_FRAMES[type as HubFrameType];
  const parsed = (v > hubLinkVersion ? loose(schema) : schema).safeParse(body);
  if (!parsed.success) return invalid(`${type}: ${z.prettifyError(parsed.error)}`);
  return { kind: 'ok', frame: { type, body: parsed.data } as AnyHubFrame };
}

/** The same form, with unknown fields dropped instead of refused. */
function loose(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodObject ? schema.strip() : schema;
}

function invalid(detail: string): DecodedHubFrame {
  return { kind: 'invalid', detail };
}

/** A frame as text. */
export function encodeHubFrame<T extends HubFrameType>(type: T, body: HubFrame<T>): string {
  return JSON.stringify({ v: hubLinkVersion, type, body });
}
