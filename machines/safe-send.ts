import type { AnyActorRef, AnyEventObject } from 'xstate';

/** Where letters go that nobody can take: an actor registered under this name counts and keeps them. */
export const deadLetterBox = 'dead-letters';

export interface TellParams {
  /** Name in the actor system, a ref, or `parent`. */
  to: string | AnyActorRef | undefined;
  event: AnyEventObject;
}

/** Why a letter is dead. */
export type DeadLetterReason = 'stopped' | 'unhandled' | 'unknown-address' | 'overflow' | 'decode';

export interface DeadLetterEvent {
  type: 'letter.dead';
  reason: DeadLetterReason;
  to: string;
  event: AnyEventObject;
}

interface Scope {
  system: AnyActorRef['system'];
  self: AnyActorRef;
}

/** What XState 5.33.3 keeps for itself and `sendTo` uses: pinned, and held to it by safe-send.test.ts. */
interface Internals {
  system: { _relay(from: AnyActorRef, to: AnyActorRef, event: AnyEventObject): void };
  self: { _actorScope: { defer(fn: () => void): void } };
  ref: { _processingStatus: number };
}

const stoppedStatus = 2;

/** Whether an actor still takes events. A stopped reducer's snapshot says `active` for ever. */
export function isAlive(ref: AnyActorRef): boolean {
  const { _processingStatus } = ref as unknown as Internals['ref'];
  return _processingStatus !== stoppedStatus && ref.getSnapshot().status === 'active';
}

/**
 * The action that every chart registers as `tell`. XState's own `sendTo` puts the sender into `error`
 * when the target is gone; here the event becomes a dead letter and the sender lives on. Like `sendTo`
 * it takes effect when the sender's step is complete, in the order of the actions, and inspection
 * learns who sent what.
 */
export function safeSend(scope: Scope, params: TellParams): void {
  const { self } = scope as unknown as Internals;
  self._actorScope.defer(() => deliver(scope, params));
}

function deliver({ system, self }: Scope, { to, event }: TellParams): void {
  const { _relay: relay } = system as unknown as Internals['system'];
  const ref = resolve({ system, self }, to);
  if (ref !== undefined && isAlive(ref)) return relay(self, ref, event);
  const box = system.get(deadLetterBox) as AnyActorRef | undefined;
  if (box === undefined || box === ref) return;
  const letter: DeadLetterEvent = {
    type: 'letter.dead',
    reason: ref === undefined ? 'unknown-address' : 'stopped',
    to: typeof to === 'string' ? to : (to?.id ?? 'nobody'),
    event,
  };
  relay(self, box, letter);
}

function resolve({ system, self }: Scope, to: TellParams['to']): AnyActorRef | undefined {
  if (to === 'parent') return self._parent;
  return typeof to === 'string' ? (system.get(to) as AnyActorRef | undefined) : to;
}
