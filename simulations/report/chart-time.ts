import { duration } from '#runtime/cli/format.ts';
import { at, chartWidth, type Figure, figure, table } from './chart-frame.ts';
import { type AxisUnit, linearScale, logTimeScale, type Scale } from './chart-scale.ts';
import { html, type Markup } from './html-text.ts';
import { squeezed } from './sparkline.ts';

export interface TimeLine {
  name: string;
  values: readonly (number | null)[];
  /** Class of the stylesheet that gives it its colour, `c0` to `c7`. */
  colour: string;
  /** Bars for what happens within a span, steps for what holds, lines for what varies. */
  shape?: 'line' | 'step' | 'bars';
  /** Sums of a stretch of spans are told in the table; else the highest. */
  adds?: boolean;
}

export interface TimeChart {
  id: string;
  title: string;
  caption?: string;
  policy: number | null;
  stepMs: number;
  /** Where the axis of time ends: with the longest of the charts beside this one. */
  endMs: number;
  lines: readonly TimeLine[];
  /** Highest value of this chart and of those beside it, so that they can be compared. */
  top: number;
  axis: AxisUnit | 'logTime';
  format: (value: number) => string;
  /** Names of formats that the script knows. */
  unit: 'count' | 'ms' | 'bytes' | 'share';
}

const box = { left: 62, right: chartWidth - 10, top: 8, bottom: 176, height: 200 };
const mostPoints = 480;
const tableRows = 24;

/** Path of a line; a gap where a value is missing, never a line across it. */
function linePath(line: TimeLine, x: (index: number) => number, y: Scale): string {
  let path = '';
  let isDrawing = false;
  line.values.forEach((value, index) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const [left, height] = [at(x(index)), at(y.place(value))];
    const right = at(x(index + 1));
    if (line.shape === 'step') path += isDrawing ? `V${height}H${right}` : `M${left} ${height}H${right}`;
    // A value that stands alone would be a line of no length: it is drawn over its own span.
    else if (!isDrawing && (line.values[index + 1] ?? null) === null) path += `M${left} ${height}H${right}`;
    else path += `${isDrawing ? 'L' : 'M'}${at((x(index) + x(index + 1)) / 2)} ${height}`;
    isDrawing = true;
  });
  return path;
}

function barPath(line: TimeLine, x: (index: number) => number, y: Scale): string {
  const width = Math.max(2, x(1) - x(0));
  return line.values
    .map((value, index) =>
      value === null || value === 0
        ? ''
        : `M${at(x(index))} ${box.bottom}V${at(y.place(value))}h${at(width)}V${box.bottom}z`,
    )
    .join('');
}

function axes(chart: TimeChart, y: Scale, x: Scale): Markup {
  const ruled = y.ticks.map((tick) => {
    const height = at(y.place(tick));
    return html`<path class="rule" d="M${box.left} ${height}H${box.right}"/><text class="tick end" x="${box.left - 6}" y="${at(y.place(tick) + 4)}">${chart.format(tick)}</text>`;
  });
  const hours = x.ticks.map(
    (tick) =>
      html`<text class="tick ${anchorOf(x.place(tick), tick === x.ticks[0])}" x="${at(x.place(tick))}" y="${box.bottom + 17}">${shortTime(tick)}</text>`,
  );
  return html`${ruled}${hours}`;
}

/** A word at an edge is not cut off. */
function anchorOf(place: number, isFirst: boolean): string {
  if (isFirst) return 'start';
  return place > box.right - 16 ? 'end' : 'middle';
}

/** `6 h`, `1 h 30 m`: a time of the day, without the zeros that `duration` prints. */
function shortTime(ms: number): string {
  return ms === 0 ? '0' : duration(ms).replace(/ 0 [a-z]$/, '');
}

/** Values of a few stretches of the day: who wants each sample has the result itself. */
function numbers(chart: TimeChart, samples: number): Markup {
  const rows = Math.min(tableRows, samples);
  return table(
    ['from', ...chart.lines.map((line) => `${line.name}${line.adds === true ? '' : ', highest'}`)],
    Array.from({ length: rows }, (_, row) => {
      const from = Math.floor((row * samples) / rows);
      const until = Math.floor(((row + 1) * samples) / rows);
      const cells = chart.lines.map((line) => {
        const seen = line.values.slice(from, until).filter((value) => value !== null);
        if (seen.length === 0) return '-';
        return chart.format(
          line.adds === true ? seen.reduce((sum, value) => sum + value, 0) : Math.max(...seen),
        );
      });
      return [shortTime(from * chart.stepMs), ...cells];
    }),
  );
}

/** Lines over the day, with the same height for the same value as in the charts beside it. */
export function timeChart(chart: TimeChart): Markup {
  const samples = Math.max(1, ...chart.lines.map((line) => line.values.length));
  const points = Math.min(mostPoints, samples);
  const x = linearScale(
    { from: 0, to: chart.endMs, unit: 'time', ticks: 5, exact: true },
    { start: box.left, end: box.right },
  );
  const xOf = (index: number) => x.place((index / points) * samples * chart.stepMs);
  const range = { start: box.bottom, end: box.top };
  const y =
    chart.axis === 'logTime'
      ? logTimeScale({ from: 100, to: Math.max(1_000, chart.top) }, range)
      : linearScale({ from: 0, to: chart.top, unit: chart.axis, ticks: 4 }, range);
  const drawn = chart.lines.map((whole) => {
    const line = { ...whole, values: squeezed(whole.values, points) };
    return line.shape === 'bars'
      ? html`<path class="bar ${line.colour}" d="${barPath(line, xOf, y)}"/>`
      : html`<path class="line ${line.colour}" d="${linePath(line, xOf, y)}"/>`;
  });
  const peaks = chart.lines.map(
    (line) => `${line.name} up to ${chart.format(Math.max(0, ...line.values.map((value) => value ?? 0)))}`,
  );
  const details: Figure = {
    id: chart.id,
    title: chart.title,
    ...(chart.caption === undefined ? {} : { caption: chart.caption }),
    description: `${peaks.join('; ')}; over ${duration(samples * chart.stepMs)}.`,
    height: box.height,
    policy: chart.policy,
    body: html`${axes(chart, y, x)}${drawn}<path class="cursor" d="M0 ${box.top}V${box.bottom}" visibility="hidden"/>`,
    table: numbers(chart, samples),
    data: html` data-time="${JSON.stringify({ left: box.left, right: box.right, endMs: chart.endMs, stepMs: chart.stepMs, unit: chart.unit, lines: chart.lines.map(({ name, values }) => ({ name, values: values.map(rounded) })) })}"`,
    legend: html`<p class="legend">${chart.lines.map((line) => html`<span><i class="key ${line.colour}"></i>${line.name}<b data-line="${line.name}"></b></span>`)}</p>`,
  };
  return figure(details);
}

/** Four digits are more than a chart shows. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(4));
}
