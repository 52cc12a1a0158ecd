import type { SnapshotFrom } from 'xstate';
import type { DeadLetters } from '#actors/dead-letters.ts';
import type { supervisorChart } from '#machines/supervisor.ts';
import type { MachineReport } from '#protocol/link.ts';

export interface MachineHealth {
  /** booting, enrolling, ready, degraded, draining or stopped. */
  state: MachineReport['state'];
  started: boolean;
  /** Takes jobs: ready or degraded, with a link. */
  ready: boolean;
  linked: boolean;
  incarnation: number | null;
  runs: number;
  restarts: number;
  reasons: string[];
  deadLetters: Record<string, number>;
}

type RootSnapshot = SnapshotFrom<typeof supervisorChart>;

/** What the root's state means for whoever asks from outside. */
export function healthOf(
  snapshot: RootSnapshot,
  known: { ended: boolean; incarnation: number | null; letters: DeadLetters },
): MachineHealth {
  const { problems, runs, restarts, linked } = snapshot.context;
  const state = stateOf(snapshot, known.ended);
  return {
    state,
    started: state !== 'booting' && state !== 'enrolling',
    ready: (state === 'ready' || state === 'degraded') && linked,
    linked,
    incarnation: known.incarnation,
    runs,
    restarts,
    reasons: Object.entries(problems).map(([reason, detail]) => `${reason}: ${detail}`),
    deadLetters: known.letters.counts(),
  };
}

function stateOf(snapshot: RootSnapshot, ended: boolean): MachineReport['state'] {
  if (ended || snapshot.matches('stopped')) return 'stopped';
  if (snapshot.matches('shutting') || snapshot.matches({ working: 'draining' })) return 'draining';
  if (snapshot.matches('booting')) return 'booting';
  if (snapshot.matches({ working: 'enrolling' })) return 'enrolling';
  return snapshot.matches({ working: 'degraded' }) ? 'degraded' : 'ready';
}

/** What a beat says of the machine, within the limits of the frame. */
export function reportOf(
  { state, reasons, restarts }: MachineHealth,
  figures: Pick<MachineReport, 'diskFreeBytes' | 'loopDelayMs' | 'rssBytes' | 'deadLetters'>,
): MachineReport {
  return { ...figures, state, restarts, reasons: reasons.slice(0, 16).map((reason) => reason.slice(0, 200)) };
}
