import { bytes, duration } from '#runtime/cli/format.ts';
import type { FigureName, PolicyReport, SimResult } from '#simulations/day/result.ts';

/** How a figure is told to people. */
export interface FigureInfo {
  label: string;
  /** One sentence, for a tooltip and for the glossary of the report. */
  meaning: string;
  /** Which way is better; null where neither is. */
  better: 'lower' | 'higher' | null;
  format: (value: number) => string;
}

/** `12 345.6`: thousands set apart by a space that does not break. */
export function grouped(value: number, digits = 0): string {
  const [whole, fraction] = Math.abs(value).toFixed(digits).split('.');
  const text = (whole ?? '0').replace(/\B(?=(\d{3})+$)/g, '\u00a0');
  const isNegative = value < 0 && Number(value.toFixed(digits)) !== 0;
  return `${isNegative ? '-' : ''}${text}${fraction === undefined ? '' : `.${fraction}`}`;
}

/** Counts are whole unless they are means of seeds. */
const counted = (value: number) => grouped(value, Number.isInteger(value) || value >= 1_000 ? 0 : 1);
const percent = (value: number) => `${(value * 100).toFixed(1)} %`;
const usd = (value: number) => `$${grouped(value, value < 100 ? 2 : 0)}`;
const time = (value: number) => (value < 0 ? `-${duration(-value)}` : duration(value));
const size = (value: number) => (value < 0 ? `-${bytes(-value)}` : bytes(value));

export const figureInfo: Readonly<Record<FigureName, FigureInfo>> = {
  waitMeanMs: {
    label: 'wait, mean',
    meaning: 'From arrival to the end, less the run on the machine that ran it.',
    better: 'lower',
    format: time,
  },
  waitP50Ms: {
    label: 'wait, p50',
    meaning: 'Half of the jobs wait at most this.',
    better: 'lower',
    format: time,
  },
  waitP95Ms: {
    label: 'wait, p95',
    meaning: '95 % of the jobs wait at most this.',
    better: 'lower',
    format: time,
  },
  waitP99Ms: {
    label: 'wait, p99',
    meaning: '99 % of the jobs wait at most this.',
    better: 'lower',
    format: time,
  },
  shortWaitP95Ms: {
    label: 'wait of short jobs, p95',
    meaning: 'The same over jobs whose run takes at most 3 s.',
    better: 'lower',
    format: time,
  },
  waitUnder10s: {
    label: 'waited under 10 s',
    meaning: 'Share of the jobs that waited less than 10 s.',
    better: 'higher',
    format: percent,
  },
  downloadWaitMs: {
    label: 'download wait a job',
    meaning: 'Preparing for models, and waiting while a slot that fits was idle; mean over the jobs.',
    better: 'lower',
    format: time,
  },
  downloadBytes: {
    label: 'downloads',
    meaning: 'Bytes of models that all machines fetched.',
    better: 'lower',
    format: size,
  },
  utilisation: {
    label: 'slots busy',
    meaning: 'Share of the slot time of living machines that ran jobs.',
    better: 'higher',
    format: percent,
  },
  machineHours: {
    label: 'machine hours',
    meaning: 'Time that machines lived, paid for whether they worked or not.',
    better: 'lower',
    format: (value) => `${grouped(value, 1)} h`,
  },
  costUsd: { label: 'cost', meaning: 'Machine hours at their prices.', better: 'lower', format: usd },
  costPer1000JobsUsd: {
    label: 'cost per 1000 jobs',
    meaning: 'Cost over the jobs that succeeded.',
    better: 'lower',
    format: usd,
  },
  avoidableWaitRemoved: {
    label: 'Y1 avoidable wait removed',
    meaning: 'How far the mean wait is on the way from fifo (0 %) to the clairvoyant schedule (100 %).',
    better: 'higher',
    format: percent,
  },
  goodDecisions: {
    label: 'Y2 good decisions',
    meaning: 'Share of claims within 1 s or 5 % of the best live machine in hindsight.',
    better: 'higher',
    format: percent,
  },
  lowerBoundRatio: {
    label: 'Y3 lower bound / reached',
    meaning:
      'What no schedule can beat, over the flow time reached. It ignores loads, so nobody reaches 100 %.',
    better: 'higher',
    format: percent,
  },
  fairness: {
    label: 'fairness',
    meaning: "Jain's index over the customers' waits relative to their own runs; 100 % is alike for all.",
    better: 'higher',
    format: percent,
  },
  jobs: { label: 'jobs', meaning: 'Accepted.', better: null, format: counted },
  finished: {
    label: 'succeeded',
    meaning: 'Jobs that ended with success.',
    better: 'higher',
    format: counted,
  },
  dead: { label: 'dead', meaning: 'Jobs that ended as dead or failed.', better: 'lower', format: counted },
  repeatedRuns: {
    label: 'repeated runs',
    meaning: 'Executions that did not end their job: failed, released or lost.',
    better: 'lower',
    format: counted,
  },
  wallMs: {
    label: 'computing time',
    meaning: 'What the replay itself took on this computer.',
    better: null,
    format: time,
  },
};

/** Figures that are sums over the seeds: people want those of one day. */
const sums = new Set<FigureName>([
  'jobs',
  'finished',
  'dead',
  'downloadBytes',
  'machineHours',
  'costUsd',
  'repeatedRuns',
]);

/** Whether each policy chose its own machines; else all of them met the same script. */
export function hasChosenFleets({ policies }: Pick<SimResult, 'policies'>): boolean {
  return Object.values(policies).some(({ incidents }) => incidents !== undefined);
}

/**
 * A figure as people want it, with its half width over the seeds: sums as the mean of one day, all others
 * over the jobs of all seeds. Null where there is none.
 */
export function shown(report: PolicyReport, name: FigureName): { value: number; halfWidth: number } | null {
  const over = report.intervals[name];
  const value = sums.has(name) && over !== undefined ? over.mean : report[name];
  return value === null ? null : { value, halfWidth: over?.halfWidth ?? 0 };
}

/** `12.3 s ± 400 ms`; `-` where there is none. A half width that rounds to nothing is left out. */
export function shownText(report: PolicyReport, name: FigureName): string {
  const figure = shown(report, name);
  if (figure === null) return '-';
  const { format } = figureInfo[name];
  const width = format(figure.halfWidth);
  return width === format(0) ? format(figure.value) : `${format(figure.value)} ± ${width}`;
}

/**
 * Policy with the best value of a figure; null with fewer than two values, or where several share it.
 * `clairvoyant` knows the future and does not compete.
 */
export function bestPolicy(
  policies: Readonly<Record<string, PolicyReport>>,
  name: FigureName,
): string | null {
  const { better } = figureInfo[name];
  const values = Object.entries(policies)
    .filter(([policy]) => policy !== 'clairvoyant')
    .flatMap(([policy, report]) => {
      const figure = shown(report, name);
      return figure === null ? [] : [{ policy, value: better === 'higher' ? -figure.value : figure.value }];
    })
    .sort((a, b) => a.value - b.value);
  const [first, second] = values;
  if (better === null || first === undefined || second === undefined) return null;
  // What reads alike is alike: a mark for the fifth digit would be a mark for noise.
  const { format } = figureInfo[name];
  return format(first.value) === format(second.value) ? null : first.policy;
}

/** Figures in the order in which they are shown, by what they are about. */
export const figureGroups: readonly { title: string; names: readonly FigureName[] }[] = [
  {
    title: 'Yardsticks',
    names: ['avoidableWaitRemoved', 'goodDecisions', 'lowerBoundRatio', 'fairness'],
  },
  {
    title: 'Waits',
    names: [
      'waitMeanMs',
      'waitP50Ms',
      'waitP95Ms',
      'waitP99Ms',
      'shortWaitP95Ms',
      'waitUnder10s',
      'downloadWaitMs',
    ],
  },
  {
    title: 'Costs',
    names: ['downloadBytes', 'utilisation', 'machineHours', 'costUsd', 'costPer1000JobsUsd'],
  },
  { title: 'Jobs', names: ['jobs', 'finished', 'dead', 'repeatedRuns', 'wallMs'] },
];
