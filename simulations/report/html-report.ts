import { createHash } from 'node:crypto';
import { duration } from '#runtime/cli/format.ts';
import type { FigureName, SimResult } from '#simulations/day/result.ts';
import { colourOf } from './chart-rows.ts';
import { figureGroups, figureInfo, grouped, hasChosenFleets } from './figure-info.ts';
import { daySections } from './html-day.ts';
import { figureBars, summaryTable, waitCharts } from './html-figures.ts';
import { script } from './html-script.ts';
import { style } from './html-style.ts';
import { html, Markup } from './html-text.ts';

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Only the style and the script of this file may act, whatever a name in the result says; nothing is fetched. */
const policy = `default-src 'none'; style-src ${hashOf(style)}; script-src ${hashOf(script)}; base-uri 'none'; form-action 'none'`;

const yardsticks: readonly FigureName[] = [
  'avoidableWaitRemoved',
  'goodDecisions',
  'lowerBoundRatio',
  'fairness',
];
const costs: readonly FigureName[] = [
  'waitMeanMs',
  'downloadWaitMs',
  'downloadBytes',
  'waitUnder10s',
  'utilisation',
  'costPer1000JobsUsd',
  'machineHours',
  'repeatedRuns',
];

/** Facts that are long. */
const wide = new Set(['Command', 'Trace']);

function facts(result: SimResult): Markup {
  const { invariants } = result;
  const held = `${grouped(invariants.violated)} violated of ${grouped(invariants.checked)} checks`;
  const pairs: [string, string | Markup][] = [
    ['Scenario', result.scenario],
    ['Load', `×${result.load}`],
    ['Time played', duration(result.spanMs)],
    [result.seeds.length === 1 ? 'Seed' : 'Seeds', result.seeds.join(', ')],
    ['Policies', String(Object.keys(result.policies).length)],
    ['Invariants', invariants.violated === 0 ? held : html`<span class="bad">${held}</span>`],
    ['Replayed in', duration(result.wallMs)],
    ['Versions', `emp ${result.versions.emp}, Node ${result.versions.node}`],
    ['Command', html`<code>${result.command}</code>`],
    ['Trace', html`<code>${result.traceHash}</code>`],
  ];
  return html`<dl class="facts">${pairs.map(([name, value]) => html`<div${wide.has(name) ? new Markup(' class="wide"') : null}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Boxes that show and hide policies; without the script there is nothing to choose. */
function chooser(names: readonly string[]): Markup | null {
  if (names.length < 2) return null;
  return html`<div class="choose" role="group" aria-label="Policies shown" hidden><b>Show</b>${names.map(
    (name, index) =>
      html`<label class="${colourOf(index)}"><input type="checkbox" value="${index}" autocomplete="off" checked><i class="key"></i>${name}</label>`,
  )}</div>`;
}

function glossary(): Markup {
  const names = figureGroups.flatMap((group) => group.names);
  return html`<details><summary>What the figures mean</summary><dl class="facts">${names.map((name) => html`<div><dt>${figureInfo[name].label}</dt><dd>${figureInfo[name].meaning}</dd></div>`)}</dl></details>`;
}

/**
 * A result as one HTML file that needs nothing else: no network, no font, no library; readable without its
 * script, in light and dark, on a phone and on paper. Every text of the result is escaped.
 */
export function htmlReport(result: SimResult): string {
  const names = Object.keys(result.policies);
  const several = result.seeds.length > 1;
  const seeds = several
    ? 'Counts, bytes, hours and costs are those of one day, the mean of the seeds; all others are over the jobs of all seeds. ± is the half width of the 95 % interval over the seeds.'
    : 'One seed: figures are of this one day and have no interval.';
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${result.scenario} ×${result.load}: simulated day</title>
<style>${new Markup(style)}</style></head><body>
<header><h1>${result.scenario} <span class="lead">simulated day</span></h1>${facts(result)}</header>
<main>
${chooser(names)}
<h2>Figures</h2><p class="note">${seeds}${names.length > 1 ? ' The best of a row is marked; clairvoyant knows the future and does not compete.' : null}</p>
${summaryTable(result)}${glossary()}
<h2>Yardsticks</h2><p class="note">${hasChosenFleets(result) ? 'The same jobs and seeds for every policy, each with the machines that were asked for under it: costs belong to the comparison.' : 'The same jobs, machines, losses and seeds for every policy.'}</p>
<div class="charts pairs">${yardsticks.map((name) => figureBars(result, name))}</div>
<h2>Waits</h2><p class="note">Circle p50, diamond p95, bar p99; one logarithmic axis for all.</p>
<div class="charts">${waitCharts(result)}</div>
${names.length > 1 ? html`<h2>Costs</h2>\n<div class="charts">${costs.map((name) => figureBars(result, name))}</div>` : null}
<h2>The day</h2><p class="note">Of seed ${result.seeds[0] ?? ''}.<span class="scripted" hidden> Point at a chart for its values, or go there by Tab and along it by arrow keys.</span></p>
${daySections(result)}
</main>
<footer>Made by <code>emp sim</code>, version ${result.versions.emp}.</footer>
<script>${new Markup(script)}</script>
</body></html>
`;
  return page.text;
}
