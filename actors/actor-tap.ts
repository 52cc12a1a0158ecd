import type { AnyActorRef, AnyEventObject, AnyMachineSnapshot, InspectionEvent } from 'xstate';
import { isAlive } from '#machines/safe-send.ts';
import type { Clock } from '#protocol/env.ts';
import type { DeadLetters } from './dead-letters.ts';

/** One thing that happened in the actor tree, in order of `seq`. */
export interface TapFrame {
  seq: number;
  /** Monotonic ms. */
  atMs: number;
  kind: 'spawned' | 'event' | 'state' | 'blocked' | 'unhandled' | 'failed' | 'ended';
  /** Ids from below the root, joined by `/`; empty for the root. */
  path: string;
  /** Type of the event that caused it; null for `spawned`. */
  event: string | null;
  /** State value after it, for charts. */
  value: unknown;
  /** Sender of an event, as a path, if known. */
  from: string | null;
}

interface Known {
  ref: AnyActorRef;
  /** Ids from below the root; an id may hold slashes. */
  ids: string[];
  path: string;
  depth: number;
  spawnedAtMs: number;
  lastEventAtMs: number;
}

export interface Failure {
  path: string;
  error: unknown;
  /** A chart failed: a bug. Otherwise an effect, whose chart has a way out for it. */
  chart: boolean;
}

export interface ActorView {
  path: string;
  /** Ids from below the root, for its address. */
  ids: string[];
  value: unknown;
  status: string;
  ageMs: number;
  sinceLastEventMs: number;
}

const isChartSnapshot = (snapshot: unknown): snapshot is AnyMachineSnapshot =>
  typeof snapshot === 'object' && snapshot !== null && 'machine' in snapshot && '_nodes' in snapshot;

const chartValue = (snapshot: unknown) => (isChartSnapshot(snapshot) ? snapshot.value : null);

/** Whether some active state names the event: then a guard refused it, else nobody expected it. */
function expects(snapshot: AnyMachineSnapshot, type: string): boolean {
  return snapshot._nodes.some((node) =>
    node.ownEvents.some((own) => own === type || (own.endsWith('.*') && type.startsWith(own.slice(0, -1)))),
  );
}

/**
 * Watches every actor of one system: names them by path, numbers what happens, finds letters that
 * nobody took, and stops the orphans of an actor that failed (XState lets the children of an actor
 * that throws run on). A failure of a listener is counted and never reaches the sender of an event.
 */
export class ActorTap {
  readonly #clock: Clock;
  readonly #letters: DeadLetters;
  readonly #onFailure: (failure: Failure) => void;
  readonly #known = new Map<string, Known>();
  readonly #listeners = new Set<(frame: TapFrame) => void>();
  #seq = 0;
  #observerErrors = 0;
  #orphans = 0;

  constructor(options: {
    clock: Clock;
    letters: DeadLetters;
    onFailure: (failure: Failure) => void;
  }) {
    this.#clock = options.clock;
    this.#letters = options.letters;
    this.#onFailure = options.onFailure;
  }

  /** Give it to `createActor` of the root as `inspect`. */
  readonly inspect = (event: InspectionEvent): void => {
    try {
      this.#observe(event);
    } catch {
      // An exception here would break the `send` of the application: it is counted instead.
      this.#observerErrors++;
    }
  };

  /** Frames from now on, until the answer is called. While nobody listens none are made. */
  listen(listener: (frame: TapFrame) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get observerErrors(): number {
    return this.#observerErrors;
  }

  /** Orphans stopped so far. */
  get orphansStopped(): number {
    return this.#orphans;
  }

  /** All living actors, parents first. */
  tree(): ActorView[] {
    const nowMs = this.#clock.monotonic();
    return [...this.#known.values()].map(({ ref, ids, path, spawnedAtMs, lastEventAtMs }) => {
      const snapshot = ref.getSnapshot();
      return {
        path,
        ids,
        value: chartValue(snapshot),
        status: String(snapshot?.status),
        ageMs: nowMs - spawnedAtMs,
        sinceLastEventMs: nowMs - lastEventAtMs,
      };
    });
  }

  /** The living actor at a path of ids, null if there is none. */
  find(ids: readonly string[]): AnyActorRef | null {
    const wanted = JSON.stringify(ids);
    for (const known of this.#known.values()) if (JSON.stringify(known.ids) === wanted) return known.ref;
    return null;
  }

  #observe(inspection: InspectionEvent): void {
    // Observables of other libraries may appear as refs; only actors have a session.
    const ref = inspection.actorRef as AnyActorRef;
    if (inspection.type === '@xstate.actor') return this.#spawned(ref);
    if (inspection.type === '@xstate.event')
      return this.#sent(ref, inspection.event, inspection.sourceRef as AnyActorRef | undefined);
    if (inspection.type === '@xstate.microstep') {
      const { _transitions: taken, event } = inspection as unknown as {
        _transitions: unknown[];
        event: AnyEventObject;
      };
      if (taken.length === 0) this.#untaken(ref, event);
      return;
    }
    if (inspection.type === '@xstate.snapshot') this.#stepped(ref, inspection.event, inspection.snapshot);
  }

  #spawned(ref: AnyActorRef): void {
    const parent = ref._parent === undefined ? undefined : this.#known.get(ref._parent.sessionId);
    const ids = ref._parent === undefined ? [] : [...(parent?.ids ?? []), ref.id];
    const path = ids.join('/');
    const nowMs = this.#clock.monotonic();
    this.#known.set(ref.sessionId, {
      ref,
      ids,
      path,
      depth: (parent?.depth ?? -1) + 1,
      spawnedAtMs: nowMs,
      lastEventAtMs: nowMs,
    });
    this.#emit('spawned', () => ({ path, event: null, value: null, from: null }));
  }

  #sent(ref: AnyActorRef, event: AnyEventObject, source: AnyActorRef | undefined): void {
    const known = this.#known.get(ref.sessionId);
    const path = known?.path ?? ref.id;
    if (known !== undefined) known.lastEventAtMs = this.#clock.monotonic();
    this.#emit('event', () => {
      const from = source === undefined ? null : (this.#known.get(source.sessionId)?.path ?? null);
      return { path, event: event.type, value: null, from };
    });
    if (event.type.startsWith('xstate.error.actor.') && source !== undefined)
      this.#failed(source, (event as { error?: unknown }).error);
    if (!event.type.startsWith('xstate.') && !isAlive(ref)) {
      this.#letters.record({ reason: 'stopped', to: path, event: event.type });
    }
  }

  #untaken(ref: AnyActorRef, event: AnyEventObject): void {
    if (event.type.startsWith('xstate.')) return;
    const snapshot = ref.getSnapshot();
    const path = this.#known.get(ref.sessionId)?.path ?? ref.id;
    const blocked = isChartSnapshot(snapshot) && expects(snapshot, event.type);
    if (!blocked) this.#letters.record({ reason: 'unhandled', to: path, event: event.type });
    this.#emit(blocked ? 'blocked' : 'unhandled', () => {
      return { path, event: event.type, value: chartValue(snapshot), from: null };
    });
  }

  #stepped(ref: AnyActorRef, event: AnyEventObject, snapshot: { status: string }): void {
    const known = this.#known.get(ref.sessionId);
    const isOver = snapshot.status !== 'active';
    if (isOver) this.#known.delete(ref.sessionId);
    const kind = !isOver ? 'state' : snapshot.status === 'error' ? 'failed' : 'ended';
    this.#emit(kind, () => {
      return { path: known?.path ?? ref.id, event: event.type, value: chartValue(snapshot), from: null };
    });
  }

  /** The root has no parent to tell; whoever watches it calls this. */
  rootFailed(root: AnyActorRef, error: unknown): void {
    this.#failed(root, error);
  }

  #failed(ref: AnyActorRef, error: unknown): void {
    const known = this.#known.get(ref.sessionId);
    const path = known?.path ?? ref.id;
    this.#known.delete(ref.sessionId);
    this.#emit('failed', () => ({ path, event: null, value: null, from: null }));
    const orphans = [...this.#known.values()]
      .filter((other) => this.#isBelow(other.ref, ref))
      .sort((a, b) => b.depth - a.depth);
    for (const orphan of orphans) {
      this.#orphans++;
      orphan.ref.send({ type: 'xstate.stop' });
    }
    this.#onFailure({ path, error, chart: 'machine' in (ref.getSnapshot() ?? {}) });
  }

  #isBelow(ref: AnyActorRef, ancestor: AnyActorRef): boolean {
    for (let parent = ref._parent; parent !== undefined; parent = parent._parent)
      if (parent === ancestor) return true;
    return false;
  }

  /** What the frame tells is asked for only where somebody listens: each step of each chart comes by here. */
  #emit(kind: TapFrame['kind'], tell: () => Pick<TapFrame, 'path' | 'event' | 'value' | 'from'>): void {
    this.#seq++;
    if (this.#listeners.size === 0) return;
    const frame: TapFrame = { seq: this.#seq, atMs: this.#clock.monotonic(), kind, ...tell() };
    for (const listener of this.#listeners) {
      try {
        listener(frame);
      } catch {
        // One broken viewer must not blind the others, nor break the actor that it watches.
        this.#observerErrors++;
      }
    }
  }
}
