import { duration } from '#runtime/cli/format.ts';
import type { WaitFigures } from '#simulations/day/result.ts';
import { at, chartWidth, figure, rowLabel, table } from './chart-frame.ts';
import { type AxisUnit, linearScale, logTimeScale, type Scale } from './chart-scale.ts';
import { html, kept, type Markup } from './html-text.ts';

const rowHeight = 26;
const box = { left: 124, top: 6 };
/** Of a name, before it is cut. */
const nameLetters = 14;

interface Frame {
  scale: Scale;
  bottom: number;
  /** The last tick has nothing to its right. */
  atEdge: boolean;
  /** Every so many ticks have a word. */
  wordEvery: number;
  format: (value: number) => string;
}

/** Ticks below and rules through the rows. */
function axis({ scale, bottom, format, atEdge, wordEvery }: Frame): Markup {
  return html`${scale.ticks.map((tick, index) => {
    const x = at(scale.place(tick));
    const anchor = atEdge && index === scale.ticks.length - 1 ? 'end' : 'middle';
    const word = html`<text class="tick ${anchor}" x="${x}" y="${bottom + 16}">${format(tick)}</text>`;
    return html`<path class="rule" d="M${x} ${box.top}V${bottom}"/>${index % wordEvery === 0 && word}`;
  })}`;
}

/** What a letter of a tick takes at most, with the gap after a word. */
const tickLetterWidth = 9;

/** Each tick has its word where there is room, else every second one. */
function wordEvery({ place, ticks }: Scale, format: (value: number) => string): number {
  const [first = 0, second = first] = ticks;
  const letters = Math.max(...ticks.map((tick) => format(tick).length));
  return letters * tickLetterWidth > place(second) - place(first) ? 2 : 1;
}

const rowY = (row: number) => box.top + rowHeight * (row + 0.5);

export interface RangeRow {
  /** Policy, or what its jobs have in common. */
  name: string;
  /** Position of the policy. */
  index: number;
  waits: WaitFigures;
}

/** p50, p95 and p99 of waits, one row per policy, on one logarithmic axis for all charts with one `top`. */
export function rangeChart(chart: {
  id: string;
  title: string;
  rows: readonly RangeRow[];
  top: number;
}): Markup {
  const bottom = box.top + rowHeight * chart.rows.length;
  const scale = logTimeScale(
    { from: 100, to: Math.max(1_000, chart.top) },
    { start: box.left, end: chartWidth - 12 },
  );
  const rows = chart.rows.map(({ name, index, waits }, row) => {
    const y = at(rowY(row));
    const [p50, p95, p99] = [waits.p50Ms, waits.p95Ms, waits.p99Ms].map((ms) => scale.place(ms));
    const marks = html`<path class="range" d="M${at(p50 ?? 0)} ${y}H${at(p99 ?? 0)}"/><circle class="mark" cx="${at(p50 ?? 0)}" cy="${y}" r="4.5"/><path class="mark" d="M${at(p95 ?? 0)} ${at(rowY(row) - 6)}l6 6l-6 6l-6 -6z"/><path class="mark" d="M${at(p99 ?? 0)} ${at(rowY(row) - 6)}v12" stroke-width="3"/>`;
    const tip = `${name}: p50 ${duration(waits.p50Ms)}, p95 ${duration(waits.p95Ms)}, p99 ${duration(waits.p99Ms)}, ${waits.jobs} jobs`;
    return html`<g class="row ${colourOf(index)}" data-policy="${index}"><title>${tip}</title>${rowLabel(name, { x: box.left - 8, y: rowY(row) + 4, letters: nameLetters })}${waits.jobs === 0 ? null : marks}</g>`;
  });
  return figure({
    id: chart.id,
    title: chart.title,
    description: 'Median as a circle, 95th percentile as a diamond, 99th as a bar, on a logarithmic axis.',
    height: bottom + 24,
    policy: null,
    body: html`${axis({
      scale,
      bottom,
      atEdge: true,
      wordEvery: 1,
      format: (ms) =>
        duration(ms)
          .replace('.0', '')
          .replace(/ 0 [a-z]$/, ''),
    })}${rows}`,
    table: table(
      ['of', 'jobs', 'mean', 'p50', 'p95', 'p99', 'longest'],
      chart.rows.map(({ name, waits }) => [
        name,
        String(waits.jobs),
        ...[waits.meanMs, waits.p50Ms, waits.p95Ms, waits.p99Ms, waits.maxMs].map(duration),
      ]),
    ),
  });
}

export interface BarRow {
  policy: string;
  index: number;
  /** Null where the policy has no value. */
  value: number | null;
  halfWidth: number;
  text: string;
  /** Values of the seeds, for the table. */
  seeds: readonly number[];
}

export interface BarChart {
  id: string;
  title: string;
  meaning: string;
  rows: readonly BarRow[];
  /** A share has its axis from 0 (or what is below) to 1. */
  isShare: boolean;
  /** Where the axis has a line of its own, with what it says. */
  target?: { value: number; text: string };
  format: (value: number) => string;
  /** Shorter, for ticks. */
  axisFormat: (value: number) => string;
  unit: AxisUnit;
  seedNumbers: readonly number[];
}

/** Room for the value in words; where it is longer, its interval is left to the whisker and the table. */
const valueWidth = 146;
const valueLetters = 18;

/** Lowest value that is drawn to scale: a policy far worse than fifo would press all others together. */
const lowestShare = -0.5;

/** One bar per policy with its interval over the seeds and its value in words. */
export function barChart(chart: BarChart): Markup {
  const bottom = box.top + rowHeight * chart.rows.length;
  const values = chart.rows.map((row) => (row.value ?? 0) + row.halfWidth);
  const lowest = Math.min(0, ...chart.rows.map((row) => row.value ?? 0));
  const scale = linearScale(
    {
      from: chart.isShare && lowest < 0 ? Math.max(lowestShare, Math.floor(lowest * 10) / 10) : 0,
      to: chart.isShare ? 1 : Math.max(...values),
      unit: chart.unit,
      // Words such as `1 h 30 m` and `600 GB` stand beside each other.
      ticks: 3,
    },
    { start: box.left, end: chartWidth - valueWidth - 10 },
  );
  const zero = scale.place(0);
  const rows = chart.rows.map((row, position) => {
    const y = rowY(position);
    const name = rowLabel(row.policy, { x: box.left - 8, y: y + 4, letters: nameLetters });
    const said = html`<text class="value" x="${chartWidth - valueWidth}" y="${at(y + 4)}">${row.text.length <= valueLetters ? row.text : row.text.replace(/ ± .*/, '')}</text>`;
    const drawn = row.value === null ? null : bar(row.value, row.halfWidth, y);
    return html`<g class="row ${colourOf(row.index)}" data-policy="${row.index}"><title>${row.policy}: ${row.text}</title>${name}${drawn}${said}</g>`;
  });
  function bar(value: number, halfWidth: number, y: number): Markup {
    const end = scale.place(value);
    const [left, right] = [Math.min(zero, end), Math.max(zero, end)];
    const [low, high] = [scale.place(value - halfWidth), scale.place(value + halfWidth)];
    const lines = `M${at(low)} ${at(y)}H${at(high)}M${at(low)} ${at(y - 5)}v10M${at(high)} ${at(y - 5)}v10`;
    const whisker = html`<path class="whisker halo" d="${lines}"/><path class="whisker" d="${lines}"/>`;
    // What ends before the axis does is seen to go on.
    const cut = value < scale.from && html`<path class="cut halo" d="M${at(left + 9)} ${at(y - 10)}l-5 20"/>`;
    return html`<rect class="fill" x="${at(left)}" y="${at(y - 8)}" width="${at(Math.max(1, right - left))}" height="16" rx="2"/>${cut}${halfWidth > 0 && whisker}`;
  }
  const { target } = chart;
  const line =
    target === undefined
      ? null
      : html`<g><title>${target.text}</title>${['target halo', 'target'].map((kind) => html`<path class="${kind}" d="M${at(scale.place(target.value))} ${box.top}V${bottom}"/>`)}</g>`;
  return figure({
    id: chart.id,
    title: chart.title,
    description: `${chart.meaning} ${target === undefined ? '' : `The dashed line is ${target.text}.`}`,
    height: bottom + 24,
    policy: null,
    body: html`${axis({ scale, bottom, atEdge: false, wordEvery: wordEvery(scale, chart.axisFormat), format: chart.axisFormat })}${rows}${line}`,
    legend: html`<p class="meaning">${kept(`${chart.meaning}${target === undefined ? '' : ` Dashed: ${target.text}.`}`)}</p>`,
    table: table(
      ['policy', 'value', ...chart.seedNumbers.map((seed) => `seed ${seed}`)],
      chart.rows.map((row) => [row.policy, row.text, ...row.seeds.map(chart.format)]),
    ),
  });
}

/** Class of the colour of the policy at `index`; colours repeat beyond eight, names do not. */
export function colourOf(index: number): string {
  return `c${index % 8}`;
}
