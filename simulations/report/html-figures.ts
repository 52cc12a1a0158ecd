import { type FigureName, figureNames, type PolicyReport, type SimResult } from '#simulations/day/result.ts';
import { type BarRow, barChart, type RangeRow, rangeChart } from './chart-rows.ts';
import { bestPolicy, figureGroups, figureInfo, shown, shownText } from './figure-info.ts';
import { html, type Markup } from './html-text.ts';

/** All figures, policies side by side; the best of a row is marked in words too. */
export function summaryTable(result: SimResult): Markup {
  const policies = Object.entries(result.policies);
  const head = policies.map(
    ([policy], index) => html`<th scope="col" data-policy="${index}" title="${policy}">${policy}</th>`,
  );
  const rows = figureGroups.map(
    ({ title, names }) =>
      html`<tr class="group"><th scope="rowgroup" colspan="${policies.length + 1}">${title}</th></tr>
${names.map((name) => summaryRow(result, name))}`,
  );
  return html`<div class="scroll fit" role="region" tabindex="0" aria-label="All figures"><table class="summary"><thead><tr><th scope="col">figure</th>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

function summaryRow(result: SimResult, name: FigureName): Markup {
  const best = bestPolicy(result.policies, name);
  // On paper a cell may take two lines: it breaks before its ±.
  const said = (report: PolicyReport) => shownText(report, name).replace(/ (?!±)/g, '\u00a0');
  const cells = Object.entries(result.policies).map(([policy, report], index) =>
    policy === best
      ? html`<td class="best" data-policy="${index}">${said(report)}<span class="away"> (best)</span></td>`
      : html`<td data-policy="${index}">${said(report)}</td>`,
  );
  return html`<tr><th scope="row" title="${figureInfo[name].meaning}">${figureInfo[name].label}</th>${cells}</tr>\n`;
}

const shares = new Set<FigureName>([
  'avoidableWaitRemoved',
  'goodDecisions',
  'lowerBoundRatio',
  'fairness',
  'utilisation',
  'waitUnder10s',
]);
const counts = new Set<FigureName>(['jobs', 'finished', 'dead', 'repeatedRuns']);
const targets: Partial<Record<FigureName, { value: number; text: string }>> = {
  avoidableWaitRemoved: { value: 0.95, text: 'the target, 95 %' },
  goodDecisions: { value: 0.95, text: 'the target, 95 %' },
  waitUnder10s: { value: 0.95, text: 'the target, 95 %' },
};

/** Bars of one figure, one per policy. */
export function figureBars(result: SimResult, name: FigureName): Markup {
  const { label, meaning, format } = figureInfo[name];
  const rows: BarRow[] = Object.entries(result.policies).map(([policy, report], index) => {
    const figure = shown(report, name);
    return {
      policy,
      index,
      value: figure?.value ?? null,
      halfWidth: figure?.halfWidth ?? 0,
      text: shownText(report, name),
      seeds: report.intervals[name]?.values ?? [],
    };
  });
  const target = targets[name];
  return barChart({
    id: `bar-${figureNames.indexOf(name)}`,
    title: label,
    meaning,
    rows,
    isShare: shares.has(name),
    format,
    axisFormat: (value) =>
      format(value)
        .replace(/\.0+(?= |$)/, '')
        .replace(/ 0 [a-z]$/, ''),
    unit: name.endsWith('Ms') ? 'time' : counts.has(name) ? 'count' : 'number',
    seedNumbers: rows.every((row) => row.seeds.length === result.seeds.length) ? result.seeds : [],
    ...(target === undefined ? {} : { target }),
  });
}

/** Waits of all jobs, then by pool and by kind, on one axis. */
export function waitCharts(result: SimResult): Markup[] {
  const policies = Object.entries(result.policies);
  const none = { jobs: 0, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 };
  const all: RangeRow[] = policies.map(([policy, report], index) => ({
    name: policy,
    index,
    waits: {
      jobs: report.finished,
      meanMs: report.waitMeanMs,
      p50Ms: report.waitP50Ms,
      p95Ms: report.waitP95Ms,
      p99Ms: report.waitP99Ms,
      maxMs: Math.max(0, ...Object.values(report.byKind).map(({ maxMs }) => maxMs)),
    },
  }));
  const charts: { title: string; rows: RangeRow[] }[] = [{ title: 'all jobs', rows: all }];
  for (const [by, word] of [
    ['byPool', 'pool'],
    ['byKind', 'kind'],
  ] as const) {
    const names = [...new Set(policies.flatMap(([, report]) => Object.keys(report[by])))];
    for (const name of names) {
      charts.push({
        title: `${word} ${name}`,
        rows: policies.map(([policy, report], index) => ({
          name: policy,
          index,
          waits: report[by][name] ?? none,
        })),
      });
    }
  }
  const top = Math.max(...charts.flatMap(({ rows }) => rows.map(({ waits }) => waits.p99Ms)));
  if (policies.length === 1) {
    const rows = charts.flatMap((chart) => chart.rows.map((row) => ({ ...row, name: chart.title })));
    return [rangeChart({ id: 'wait-0', title: 'Waits by pool and kind', rows, top })];
  }
  return charts.map(({ title, rows }, index) =>
    rangeChart({ id: `wait-${index}`, title: `Wait of ${title}`, rows, top }),
  );
}
