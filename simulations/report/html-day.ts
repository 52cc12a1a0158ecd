import { bytes, duration } from '#runtime/cli/format.ts';
import type { DaySeries, SimResult } from '#simulations/day/result.ts';
import { at, chartWidth, figure, rowLabel, table } from './chart-frame.ts';
import { linearScale } from './chart-scale.ts';
import { type TimeChart, type TimeLine, timeChart } from './chart-time.ts';
import { grouped } from './figure-info.ts';
import { html, type Markup } from './html-text.ts';

interface Metric {
  key: string;
  title: string;
  remark: string;
  lines: (series: DaySeries) => TimeLine[];
  axis: TimeChart['axis'];
  unit: TimeChart['unit'];
}

/** One line per pool, pools in one order and colour for all policies. */
function byPool(lists: Readonly<Record<string, number[]>>): TimeLine[] {
  return Object.entries(lists).map(([name, values], index) => ({ name, values, colour: `c${index % 8}` }));
}

const metrics: readonly Metric[] = [
  {
    key: 'fleet',
    title: 'Machines',
    remark: 'Wanted and running at the end of each span, lost within it.',
    lines: (series) => [
      { name: 'wanted', values: series.machinesWanted, colour: 'c7', shape: 'step' },
      { name: 'running', values: series.machinesRunning, colour: 'c0', shape: 'step' },
      { name: 'lost', values: series.machinesLost, colour: 'c1', shape: 'bars', adds: true },
    ],
    axis: 'count',
    unit: 'count',
  },
  {
    key: 'arrivals',
    title: 'Arrivals',
    remark: 'Jobs that arrived in each span.',
    lines: (series) => [{ name: 'arrived', values: series.arrived, colour: 'c0', adds: true }],
    axis: 'count',
    unit: 'count',
  },
  {
    key: 'ended',
    title: 'Ends',
    remark: 'Jobs that ended in each span.',
    lines: (series) => [{ name: 'ended', values: series.ended, colour: 'c2', adds: true }],
    axis: 'count',
    unit: 'count',
  },
  {
    key: 'depth',
    title: 'Queue depth',
    remark: 'Jobs that wait at the end of each span, by pool.',
    lines: (series) => byPool(series.queueDepth),
    axis: 'count',
    unit: 'count',
  },
  {
    key: 'age',
    title: 'Oldest waiting job',
    remark:
      'Its age at the end of each span, by pool: it speaks up where a queue stands still and no wait ends.',
    lines: (series) => byPool(series.oldestAgeMs),
    axis: 'time',
    unit: 'ms',
  },
  {
    key: 'wait',
    title: 'Wait, p95',
    remark: 'Of the jobs that ended in each span, on a logarithmic axis; a gap where none did.',
    lines: (series) => [{ name: 'p95', values: series.waitP95Ms, colour: 'c0' }],
    axis: 'logTime',
    unit: 'ms',
  },
  {
    key: 'busy',
    title: 'Slots busy',
    remark: 'Share of the slot time of living machines that ran jobs.',
    lines: (series) => [{ name: 'busy', values: series.busyShare, colour: 'c2' }],
    axis: 'number',
    unit: 'share',
  },
  {
    key: 'bytes',
    title: 'Downloads',
    remark: 'Bytes of models that arrived in each span.',
    lines: (series) => [
      { name: 'bytes', values: series.downloadBytes, colour: 'c5', shape: 'bars', adds: true },
    ],
    axis: 'number',
    unit: 'bytes',
  },
];

const formats: Record<TimeChart['unit'], (value: number) => string> = {
  count: (value) => grouped(value, Number.isInteger(value) ? 0 : 1),
  ms: (value) =>
    duration(value)
      .replace('.0', '')
      .replace(/ 0 [a-z]$/, ''),
  bytes: (value) => bytes(value).replace(/\.0+(?= )/, ''),
  share: (value) => `${Math.round(value * 100)} %`,
};

/** The lines of the day itself, without what a policy took after it. */
function withinDay(lines: readonly TimeLine[], series: DaySeries, spanMs: number): TimeLine[] {
  const samples = Math.max(1, Math.ceil(spanMs / series.stepMs));
  return lines.map((line) => ({ ...line, values: line.values.slice(0, samples) }));
}

function metricCharts(metric: Metric, result: SimResult): { shared: boolean; charts: Markup[] } {
  const all = Object.entries(result.policies).map(([policy, { series }]) => {
    const lines = metric.lines(series);
    return { policy, series, lines, ofDay: withinDay(lines, series, result.spanMs) };
  });
  // What a scripted fleet and the arrivals look like, one chart says for all policies.
  const [first] = all;
  const shared = all.every(
    ({ series, ofDay }) =>
      series.stepMs === first?.series.stepMs && JSON.stringify(ofDay) === JSON.stringify(first.ofDay),
  );
  const drawn = shared ? all.slice(0, 1).map((each) => ({ ...each, lines: each.ofDay })) : all;
  const values = drawn.flatMap(({ lines }) => lines.flatMap((line) => line.values));
  const top =
    metric.unit === 'share' ? 1 : values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  const endMs = Math.max(
    ...drawn.map(
      ({ lines, series }) => series.stepMs * Math.max(1, ...lines.map((line) => line.values.length)),
    ),
  );
  const charts = drawn.map(({ policy, series, lines }, index) =>
    timeChart({
      id: `time-${metric.key}-${index}`,
      title: shared ? metric.title : `${metric.title}: ${policy}`,
      ...(shared ? {} : { caption: policy }),
      policy: shared ? null : index,
      stepMs: series.stepMs,
      endMs,
      lines,
      top: top > 0 ? top : 1,
      axis: metric.axis,
      unit: metric.unit,
      format: formats[metric.unit],
    }),
  );
  return { shared, charts };
}

/** How the day went: charts that all policies share together, then each figure policy by policy. */
export function daySections(result: SimResult): Markup {
  const policies = Object.entries(result.policies);
  const drawn = metrics.map((metric) => ({ metric, ...metricCharts(metric, result) }));
  const together = drawn.filter(({ shared }) => shared);
  const apart = drawn.filter(({ shared }) => !shared);
  const same =
    policies.length > 1 && together.length > 0 ? html`<p class="note">The same for all policies:</p>` : null;
  return html`${same}<div class="charts">${together.flatMap(({ charts }) => charts)}${sharedIncidents(result)}</div>
${chosenIncidents(result)}${apart.map(({ metric, charts }) => html`<h3>${metric.title}</h3><p class="note">${metric.remark} One scale for all policies.</p><div class="charts">${charts}</div>`)}`;
}

const shownIncidents = 400;

/** The same as in the chart of the machines. */
const incidentColours: Record<string, string> = {
  lost: 'c1',
  back: 'c2',
  'not delivered': 'c3',
  withdrawn: 'c4',
  wanted: 'c0',
};

function sharedIncidents(result: SimResult): Markup | null {
  const { incidents } = result;
  if (incidents.length === 0) return null;
  return incidentChart({ id: 'incidents', policy: null, incidents, endMs: lastOf(result.spanMs, incidents) });
}

/** Each policy's own fleet, on one axis of time. */
function chosenIncidents({ policies, spanMs }: SimResult): Markup | null {
  const chosen = Object.entries(policies).flatMap(([caption, { incidents = [] }], policy) =>
    incidents.length === 0 ? [] : [{ id: `incidents-${policy}`, policy, caption, incidents }],
  );
  if (chosen.length === 0) return null;
  const endMs = Math.max(...chosen.map(({ incidents }) => lastOf(spanMs, incidents)));
  const charts = chosen.map((chart) => incidentChart({ ...chart, endMs }));
  return html`<h3>What happened to the fleet</h3><p class="note">Asked for and let go under each policy. Each change of the number wanted says why.</p><div class="charts">${charts}</div>
`;
}

const lastOf = (spanMs: number, incidents: SimResult['incidents']) =>
  incidents.reduce((last, { atMs }) => Math.max(last, atMs), spanMs);

/** One row per kind of incident, one mark per incident. */
function incidentChart(chart: {
  id: string;
  policy: number | null;
  caption?: string;
  incidents: SimResult['incidents'];
  endMs: number;
}): Markup {
  const { incidents, endMs, caption } = chart;
  const kinds = [...new Set(incidents.map(({ kind }) => kind))];
  const bottom = 6 + kinds.length * 26;
  const x = linearScale(
    { from: 0, to: endMs, unit: 'time', ticks: 5, exact: true },
    { start: 112, end: chartWidth - 12 },
  );
  const ticks = x.ticks.map(
    (tick) =>
      html`<path class="rule" d="M${at(x.place(tick))} 6V${bottom}"/><text class="tick ${x.place(tick) > chartWidth - 28 ? 'end' : 'middle'}" x="${at(x.place(tick))}" y="${bottom + 16}">${tick === 0 ? '0' : formats.ms(tick)}</text>`,
  );
  const rows = kinds.map((kind, row) => {
    const y = 6 + 26 * (row + 0.5);
    const marks = incidents
      .filter((incident) => incident.kind === kind)
      .map(
        ({ atMs, what }) =>
          html`<path class="mark ${incidentColours[kind] ?? 'c7'}" stroke-width="2" d="M${at(x.place(atMs))} ${at(y - 8)}v16"><title>${kind} at ${duration(atMs)}: ${what}</title></path>`,
      );
    return html`${rowLabel(kind, { x: 104, y: y + 4, letters: 13 })}${marks}`;
  });
  const counts = kinds.map(
    (kind) => `${incidents.filter((incident) => incident.kind === kind).length} ${kind}`,
  );
  const rest = incidents.length - shownIncidents;
  return figure({
    id: chart.id,
    title: `What happened to the fleet${caption === undefined ? '' : `: ${caption}`}`,
    ...(caption === undefined ? {} : { caption }),
    description: `${counts.join(', ')}, over ${duration(endMs)}.`,
    height: bottom + 24,
    policy: chart.policy,
    body: html`${ticks}${rows}`,
    table: html`${table(
      ['at', 'what', caption === undefined ? 'machine' : 'machine, or pool and why'],
      incidents.slice(0, shownIncidents).map(({ atMs, kind, what }) => [duration(atMs), kind, what]),
      'words',
    )}${rest > 0 ? html`<p class="note">and ${grouped(rest)} more</p>` : null}`,
  });
}
