/** When a provider has a machine for a place, and until when: spot availability out of a trace. */
export interface Supply {
  /** The window that is open at `atMs`, or the next one that opens, ms of the day. */
  window(place: number, atMs: number): { fromMs: number; untilMs: number };
}

/** Spans in which one instance lived, in order of time, none empty; `lengthMs` is how long it was watched. */
export interface Lane {
  lengthMs: number;
  alive: { fromMs: number; untilMs: number }[];
}

/**
 * Spot windows for any number of places: place n follows lane n, round and round, and a trace that is shorter than
 * the day begins anew. `offsetMs` is where in the traces the day begins. A lane without a live span delivers nothing.
 */
export function supplyOf(lanes: readonly Lane[], offsetMs: number): Supply {
  return {
    window(place, atMs) {
      const lane = lanes[place % lanes.length];
      if (lane === undefined || lane.alive.length === 0) return { fromMs: Infinity, untilMs: Infinity };
      return laneWindow(lane, atMs + offsetMs, -offsetMs);
    },
  };
}

function laneWindow({ lengthMs, alive }: Lane, traceMs: number, shiftMs: number) {
  const rounds = Math.floor(traceMs / lengthMs) * lengthMs;
  const within = traceMs - rounds;
  const here = alive.find(({ untilMs }) => untilMs > within);
  const base = shiftMs + rounds + (here === undefined ? lengthMs : 0);
  const span = here ?? (alive[0] as Lane['alive'][number]);
  return { fromMs: base + span.fromMs, untilMs: base + span.untilMs };
}
