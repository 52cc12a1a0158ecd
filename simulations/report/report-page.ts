import type { Locator, Page } from 'playwright-core';
import type { SimResult } from '#simulations/day/result.ts';
import { figureGroups, figureInfo, shownText } from './figure-info.ts';

const plain = (text: string) => text.replaceAll('\u00a0', ' ').replace(' (best)', '').trim();

/** The table of figures as it is read: by label of the figure, then by policy. */
export async function figuresOf(page: Page): Promise<Record<string, Record<string, string>>> {
  const rows = page.locator('table.summary tr:not(.group)');
  const cells: string[][] = await rows.evaluateAll((all) =>
    all.map((row) =>
      [...row.children].filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent),
    ),
  );
  const [[, ...policies] = [], ...figures] = cells;
  return Object.fromEntries(
    figures.map(([label = '', ...values]) => [
      label,
      Object.fromEntries(policies.map((policy, index) => [policy, plain(values[index] ?? 'missing')])),
    ]),
  );
}

/** The same table as the result has it. */
export function expectedFigures({ policies }: SimResult): Record<string, Record<string, string>> {
  return Object.fromEntries(
    figureGroups
      .flatMap(({ names }) => names)
      .map((name) => [
        figureInfo[name].label,
        Object.fromEntries(
          Object.entries(policies).map(([policy, report]) => [policy, plain(shownText(report, name))]),
        ),
      ]),
  );
}

/** Goes there as a person without a mouse does; rejects where Tab never comes there. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  for (let presses = 0; presses < 400; presses += 1) {
    await page.keyboard.press('Tab');
    if (await target.evaluate((element) => element === element.ownerDocument.activeElement)) return;
  }
  throw new Error('Tab never came there');
}
