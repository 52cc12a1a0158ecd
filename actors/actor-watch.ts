import type { AnyActorRef, SnapshotFrom } from 'xstate';

/**
 * The one way to follow an actor from outside. XState reports the failure of an actor whose subscriber
 * has no error handler as an uncaught exception of the process, even where a parent handled it; here
 * the handler is not optional.
 */
export function watchActor<TRef extends AnyActorRef>(
  ref: TRef,
  handlers: {
    next?: (snapshot: SnapshotFrom<TRef>) => void;
    done?: () => void;
    error: (error: unknown) => void;
  },
): { stop: () => void } {
  const subscription = ref.subscribe({
    next: (snapshot) => handlers.next?.(snapshot as SnapshotFrom<TRef>),
    complete: () => handlers.done?.(),
    error: handlers.error,
  });
  return { stop: () => subscription.unsubscribe() };
}

/**
 * Resolves with the first snapshot that `test` accepts; rejects when the actor fails or ends before.
 * XState's own `waitFor` uses the system's timers; deadlines belong to whoever waits.
 */
export function snapshotWhere<TRef extends AnyActorRef>(
  ref: TRef,
  test: (snapshot: SnapshotFrom<TRef>) => boolean,
): Promise<SnapshotFrom<TRef>> {
  return new Promise((resolve, reject) => {
    const now = ref.getSnapshot() as SnapshotFrom<TRef>;
    if (test(now)) return resolve(now);
    const watch = watchActor(ref, {
      next: (snapshot) => {
        if (!test(snapshot)) return;
        watch.stop();
        resolve(snapshot);
      },
      done: () => reject(new Error(`actor ${ref.id} ended before it was as expected`)),
      error: reject,
    });
  });
}
