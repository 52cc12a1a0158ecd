import type { Hub } from './hub.ts';

const pageLimit = 500;
const leastWaitMs = 5;

/** Moves due delayed entries to their lanes and wakes machines for them. Answers when the next is due, ms from now. */
export async function promoteDue(hub: Hub): Promise<number | null> {
  for (;;) {
    const { promoted, wakes, nextInMs } = await hub.broker.promote({ limit: pageLimit });
    for (const machine of wakes) hub.wake(machine, hub.groups.busiest());
    if (promoted.length > 0) hub.poke.recorder();
    if (promoted.length === pageLimit) continue;
    return nextInMs === null ? null : Math.max(leastWaitMs, nextInMs);
  }
}
