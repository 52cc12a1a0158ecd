import { styleText } from 'node:util';
import { bytes, duration } from '#runtime/cli/format.ts';
import { printable } from '#runtime/cli/output.ts';
import type { DaySeries, FigureName, PolicyReport, SimResult } from '#simulations/day/result.ts';
import {
  bestPolicy,
  figureGroups,
  figureInfo,
  grouped,
  hasChosenFleets,
  shown,
  shownText,
} from './figure-info.ts';
import { sparkline, total } from './sparkline.ts';

const lines: readonly {
  label: string;
  of: (series: DaySeries) => (number | null)[];
  format: (value: number) => string;
  /** Says something only where each policy chose its own machines. */
  ofChosenFleets?: true;
}[] = [
  {
    label: 'machines wanted',
    of: (series) => series.machinesWanted,
    format: (value) => grouped(value),
    ofChosenFleets: true,
  },
  { label: 'machines', of: (series) => series.machinesRunning, format: (value) => grouped(value) },
  { label: 'queue depth', of: (series) => total(series.queueDepth), format: (value) => grouped(value) },
  { label: 'wait p95', of: (series) => series.waitP95Ms, format: duration },
  { label: 'downloads', of: (series) => series.downloadBytes, format: bytes },
];

const labelWidth = 25;

/** Cuts with an ellipsis; pads on the left for numbers. */
function fitted(text: string, width: number): string {
  const cut = text.length <= width ? text : `${text.slice(0, width - 1)}…`;
  return cut.padStart(width);
}

type Paint = (style: 'bold' | 'dim' | 'green', text: string) => string;

interface Grid {
  policies: string[];
  /** By figure, then by policy. */
  cells: Map<FigureName, string[]>;
  column: number;
  /** Policies that fit side by side. */
  perRow: number;
}

function gridOf(result: SimResult, width: number, withIntervals: boolean): Grid {
  const reports = Object.values(result.policies);
  const policies = Object.keys(result.policies);
  const cellOf = (report: PolicyReport, name: FigureName) => {
    if (withIntervals) return shownText(report, name);
    const figure = shown(report, name);
    return figure === null ? '-' : figureInfo[name].format(figure.value);
  };
  const names = figureGroups.flatMap((group) => group.names);
  const cells = new Map(names.map((name) => [name, reports.map((report) => cellOf(report, name))]));
  const widths = [...cells.values()].flat().map((cell) => cell.length);
  const column = Math.max(8, ...widths, ...policies.map((policy) => Math.min(16, printable(policy).length)));
  return { policies, cells, column, perRow: Math.max(1, Math.floor((width - labelWidth) / (column + 2))) };
}

/**
 * Policies side by side. Intervals are left away where they would part the policies into several tables:
 * to be compared they must stand side by side.
 */
function tableLines(result: SimResult, width: number, paint: Paint): string[] {
  const full = gridOf(result, width, true);
  const { policies, cells, column, perRow } =
    full.perRow >= full.policies.length ? full : gridOf(result, width, false);
  const out: string[] = [];
  for (let from = 0; from < policies.length; from += perRow) {
    const group = policies.slice(from, from + perRow);
    const heads = group.map((policy) => `  ${fitted(printable(policy), column)}`).join('');
    if (from > 0) out.push('');
    out.push(paint('bold', `${' '.repeat(labelWidth)}${heads}`));
    for (const { title, names } of figureGroups) {
      out.push(paint('dim', title));
      for (const name of names) {
        const best = bestPolicy(result.policies, name);
        const row = group.map((policy, index) => {
          const text = fitted(cells.get(name)?.[from + index] ?? '', column);
          return `  ${policy === best ? paint('green', text) : text}`;
        });
        out.push(`${figureInfo[name].label.padEnd(labelWidth)}${row.join('')}`);
      }
    }
  }
  return out;
}

function sparkLines(
  result: SimResult,
  width: number,
  paint: (style: 'dim', text: string) => string,
): string[] {
  const policies = Object.entries(result.policies);
  const nameWidth = Math.min(20, Math.max(...policies.map(([policy]) => printable(policy).length)));
  const sparkWidth = Math.max(8, Math.min(96, width - nameWidth - 14));
  const endMs = Math.max(...policies.map(([, { series }]) => series.stepMs * series.machinesRunning.length));
  const isChosen = hasChosenFleets(result);
  const told = lines.filter(({ ofChosenFleets }) => ofChosenFleets !== true || isChosen);
  return told.flatMap(({ label, of, format }) => {
    const top = Math.max(
      0,
      ...policies.flatMap(([, report]) => of(report.series).map((value) => value ?? 0)),
    );
    return [
      paint('dim', `${label}, up to ${format(top)}`),
      ...policies.map(([policy, { series }]) => {
        const values = of(series);
        const peak = Math.max(0, ...values.map((value) => value ?? 0));
        // One axis of time: a policy that was done sooner ends sooner on the line.
        const missing = Math.max(0, Math.round(endMs / series.stepMs) - values.length);
        const drawn = [...values, ...new Array<null>(missing).fill(null)];
        const name = printable(policy).slice(0, nameWidth).padEnd(nameWidth);
        return `${name}  ${sparkline(drawn, { width: sparkWidth, top })}  ${format(peak)}`;
      }),
    ];
  });
}

/**
 * A result for people at a terminal: what was played, the figures with policies side by side (± 95 %
 * over the seeds; the best of a row in green), and how the day went as sparklines of the first seed,
 * all policies on one scale. No line but those of long names is wider than `width`.
 */
export function terminalSummary(result: SimResult, options: { width: number; color: boolean }): string[] {
  const paint = (style: 'bold' | 'dim' | 'green' | 'red', text: string) =>
    options.color ? styleText(style, text, { validateStream: false }) : text;
  const width = Math.max(50, options.width);
  const { invariants } = result;
  const held = `${grouped(invariants.checked)} checks of invariants, ${grouped(invariants.violated)} violated`;
  return [
    `${paint('bold', printable(result.scenario))}  load ×${result.load}, ${duration(result.spanMs)}, ${result.seeds.length === 1 ? 'seed' : 'seeds'} ${result.seeds.join(', ')}`,
    invariants.violated === 0 ? held : paint('red', held),
    '',
    ...tableLines(result, width, paint),
    '',
    ...sparkLines(result, width, paint),
    '',
    paint('dim', `trace ${result.traceHash}`),
  ];
}
