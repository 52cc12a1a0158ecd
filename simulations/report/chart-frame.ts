import { html, type Markup } from './html-text.ts';

/**
 * All charts share one width, so that a letter is as large in one as in the next. It is about what they
 * have on the screen in two to four columns: drawn wider, their words would shrink with them.
 */
export const chartWidth = 420;

/** Number for an attribute of SVG. */
export function at(value: number): string {
  return String(Math.round(value * 10) / 10);
}

export interface Figure {
  /** Unique in the document, letters, digits and dashes. */
  id: string;
  title: string;
  /** What stands above it, where a heading says the rest of the title; else the title. */
  caption?: string;
  /** What it shows, for people who do not see it. */
  description: string;
  height: number;
  /** Inside of the svg element. */
  body: Markup;
  /** Table behind the chart. */
  table: Markup;
  /** Position of the policy that it is of; null where it is of all. */
  policy: number | null;
  legend?: Markup;
  /** Attributes that the script reads to show values under the pointer. */
  data?: Markup;
}

/** A chart with its title, its legend and, folded away, its numbers as a table. */
export function figure(chart: Figure): Markup {
  const { id, title, description, height, policy } = chart;
  return html`<figure${policy === null ? null : html` data-policy="${policy}"`}>
<figcaption>${chart.caption ?? title}</figcaption>
${chart.legend ?? null}
<svg viewBox="0 0 ${chartWidth} ${at(height)}" role="img" aria-labelledby="${id}-t ${id}-d"${chart.data ?? null}>
<title id="${id}-t">${title}</title><desc id="${id}-d">${description}</desc>
${chart.body}
</svg>
<details><summary>Numbers<span class="away"> of ${title}</span></summary><div class="scroll" role="region" tabindex="0" aria-label="Numbers of ${title}">${chart.table}</div></details>
</figure>`;
}

/** Rows under their headings; the first cell of each names the row, the others are numbers, or `words` that wrap. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  cells: 'numbers' | 'words' = 'numbers',
): Markup {
  return html`<table${cells === 'words' ? html` class="words"` : null}><thead><tr>${headings.map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead><tbody>
${rows.map((row) => html`<tr>${row.map((cell, index) => (index === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`))}</tr>\n`)}</tbody></table>`;
}

/** A name that must fit beside a row; the whole of it is the tooltip. */
export function rowLabel(text: string, place: { x: number; y: number; letters: number }): Markup {
  const { x, y, letters } = place;
  const short = text.length <= letters ? text : `${text.slice(0, letters - 1)}…`;
  return html`<text class="name" x="${at(x)}" y="${at(y)}">${short}${short === text ? null : html`<title>${text}</title>`}</text>`;
}
