import type { Clock } from '#protocol/env.ts';

/**
 * Signals that come so soon after the first are the same word again: a terminal gives Ctrl-C to every process of
 * its group, and npm hands its own on to what it started. Ms.
 */
const echoMs = 500;

/**
 * What to do with SIGINT and SIGTERM: `first` is called once, with the signal that came; `again` for each that
 * comes later than an echo of it would.
 */
export function stopSignals(options: {
  clock: Pick<Clock, 'monotonic'>;
  first(signal: NodeJS.Signals): void;
  again(): void;
}): (signal: NodeJS.Signals) => void {
  let sinceMs: number | null = null;
  return (signal) => {
    const nowMs = options.clock.monotonic();
    if (sinceMs === null) {
      sinceMs = nowMs;
      options.first(signal);
    } else if (nowMs - sinceMs >= echoMs) options.again();
  };
}

/** Listens for both for as long as the process lives. */
export function onStopSignals(handle: (signal: NodeJS.Signals) => void): void {
  process.on('SIGINT', handle);
  process.on('SIGTERM', handle);
}
