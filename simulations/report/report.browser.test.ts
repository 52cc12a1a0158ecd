import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bytes, duration } from '#runtime/cli/format.ts';
import { runMain } from '#runtime/cli/run-main.fixture.ts';
import { startBrowser, type TestBrowser } from '#runtime/toolchain/browser.ts';
import type { SimResult } from '#simulations/day/result.ts';
import { htmlReport } from './html-report.ts';
import { chartWordFaults, emptyCharts, faintWords, openAll, sidewaysPx, smallWords } from './page-checks.ts';
import { fixtureChosen, fixtureResult } from './report-fixture.ts';
import { expectedFigures, figuresOf, tabTo } from './report-page.ts';

const eight = ['fifo', 'random', 'affinity', 'hold', 'planner', 'emp', 'frugal', 'clairvoyant'];
const several = fixtureResult({ policies: eight, seeds: [1, 2], jobs: 120 });
const three = fixtureResult({ policies: ['emp', 'fifo', 'clairvoyant'], seeds: [1, 2, 3], jobs: 300 });
const single = fixtureResult({ policies: ['emp'], seeds: [7], jobs: 120 });
const chosen = fixtureChosen(['emp', 'fifo']);
const sections = ['Figures', 'Yardsticks', 'Waits', 'Costs', 'The day'];

let folder: string;
let chromium: TestBrowser;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'emp-report-'));
  chromium = await startBrowser();
});
afterEach(async () => {
  for (const context of chromium.browser.contexts()) await context.close();
});
afterAll(async () => {
  await chromium?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A file as a person opens it; `said` is what the page logs, throws and asks in windows, `asked` each address. */
async function openFile(path: string, options: BrowserContextOptions = {}) {
  const context = await chromium.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const said: string[] = [];
  const asked: string[] = [];
  context.on('request', (request) => asked.push(request.url()));
  const page = await context.newPage();
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(`thrown: ${error.message}`));
  page.on('dialog', (dialog) => {
    said.push(`${dialog.type()}: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const address = pathToFileURL(path).href;
  await page.goto(address);
  return { page, said, asked, address };
}

function open(result: SimResult, options: BrowserContextOptions = {}) {
  const path = join(folder, 'report.html');
  writeFileSync(path, htmlReport(result));
  return openFile(path, options);
}

/** The chart of arrivals, which all policies share: its values are those of the first. */
function arrivals(page: Page) {
  const figure = page.locator('figure', { has: page.locator('figcaption', { hasText: /^Arrivals/ }) });
  return {
    chart: figure.locator('svg'),
    caption: figure.locator('figcaption'),
    value: figure.locator('.legend b'),
    cursor: figure.locator('.cursor'),
    noon: figure.locator('svg text', { hasText: /^12 h$/ }),
  };
}
const { arrived, stepMs } = Object.values(three.policies)[0]!.series;
const noonIndex = (12 * 3_600_000) / stepMs;

describe('the report of a day that was played', () => {
  test('opens without a word in the console, asks for nothing else, and tells the figures of the result', async () => {
    const [scenario, report] = [join(folder, 'tiny.json'), join(folder, 'tiny.html')];
    const day = {
      name: 'tiny',
      spanHours: 0.1,
      fleet: { wanted: [{ atHour: 0, machines: 2 }], stepMinutes: 1 },
      catalogue: { checkpoints: 3, loras: 3, controlnets: 3, llms: 1 },
      jobs: { count: 8, kinds: { llm: 1, image: 0, video: 0, cpu: 0 } },
    };
    writeFileSync(scenario, JSON.stringify(day));
    const args = ['sim', 'run', scenario, '--policy', 'emp,fifo,clairvoyant', '--workers', '1', '--json'];
    const run = await runMain([...args, '--report', report]);
    expect(run.code, run.stderr).toBe(0);
    const result = JSON.parse(run.stdout) as SimResult;
    const { page, said, asked, address } = await openFile(report);
    expect(await page.title()).toBe('tiny ×1: simulated day');
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('tiny simulated day');
    expect(await page.getByRole('heading', { level: 2 }).allTextContents()).toEqual(sections);
    for (const name of sections)
      expect(await page.getByRole('heading', { level: 2, name, exact: true }).isVisible(), name).toBe(true);
    const figures = await figuresOf(page);
    expect(figures).toEqual(expectedFigures(result));
    expect(figures['succeeded']).toEqual({ emp: '8', fifo: '8', clairvoyant: '8' });
    expect(await page.getByText(result.traceHash).isVisible()).toBe(true);
    expect(await page.evaluate(chartWordFaults)).toEqual([]);
    expect({ said, asked }).toEqual({ said: [], asked: [address] });
  });
});

describe('charts', () => {
  test.each([
    ['eight policies', several],
    ['three policies', three],
    ['one policy', single],
    ['policies that choose their machines', chosen],
  ])(
    'of %s: no word lies on another or is cut, at any width, and the page never moves sideways',
    async (_name, result) => {
      const { page } = await open(result);
      for (const width of [400, 700, 1280, 1600]) {
        await page.setViewportSize({ width, height: 900 });
        expect(await page.evaluate(sidewaysPx), `${width} px`).toBe(0);
        expect(await page.evaluate(chartWordFaults), `${width} px`).toEqual([]);
        expect(await page.evaluate(smallWords(10.5)), `${width} px`).toEqual([]);
      }
      const nothing = await page.evaluate<string[]>(emptyCharts);
      // Without clairvoyant and fifo there is nothing to measure the wait by.
      expect(nothing.filter((title) => !title.startsWith('Y1') && !title.startsWith('repeated'))).toEqual([]);
    },
  );

  test('the longest value that still tells its interval is not cut', async () => {
    const long = structuredClone(three);
    const over = { mean: 143_000, halfWidth: 224_000, values: [100_000, 110_000, 219_000] };
    Object.assign(long.policies['emp']!, { waitMeanMs: 143_000, downloadWaitMs: 143_000 });
    Object.assign(long.policies['emp']!.intervals, {
      waitMeanMs: over,
      downloadWaitMs: { ...over, halfWidth: 60_000 },
    });
    const { page } = await open(long);
    expect(await page.locator('.value', { hasText: /^2 m 23 s ± 1 m 0 s$/ }).count()).toBe(1);
    expect(await page.evaluate(chartWordFaults)).toEqual([]);
  });

  test('the dashed line of a target is seen over the bars', async () => {
    const { page } = await open(three);
    const chart = page.locator('svg', { hasText: 'Y2 good decisions' });
    const order = await chart
      .locator('.fill, .target:not(.halo)')
      .evaluateAll((all) => all.map((each) => each.classList[0]));
    expect(order).toEqual(['fill', 'fill', 'fill', 'target']);
  });

  test('a bar that goes on beyond its axis is cut, the others are not', async () => {
    const worse = structuredClone(three);
    worse.policies['emp']!.avoidableWaitRemoved = -42;
    delete worse.policies['emp']!.intervals.avoidableWaitRemoved;
    const { page } = await open(worse);
    const rows = page.locator('svg', { hasText: 'Y1 avoidable wait removed' }).locator('.row');
    const cuts = await rows.evaluateAll((rows) => rows.map((row) => row.querySelectorAll('.cut').length));
    expect(cuts).toEqual([1, 0, 0]);
  });
});

/** What a chart tells now: of when, and the value of each line. */
async function toldBy({ caption, value }: ReturnType<typeof arrivals>) {
  return { caption: await caption.textContent(), value: await value.textContent() };
}
const toldAt = (index: number) => ({
  caption: `Arrivals at ${duration(index * stepMs)}`,
  value: String(arrived[index]),
});

describe('values in a chart over time', () => {
  test('are told under the mouse, beside the tick of noon those of noon', async () => {
    const { page } = await open(three);
    const parts = arrivals(page);
    await parts.chart.scrollIntoViewIfNeeded();
    const [tick, box] = [(await parts.noon.boundingBox())!, (await parts.chart.boundingBox())!];
    // Within the span that begins at noon.
    await page.mouse.move(tick.x + tick.width / 2 + box.width / 900, box.y + box.height / 2);
    expect(await toldBy(parts)).toEqual(toldAt(noonIndex));
    expect(await parts.cursor.getAttribute('visibility')).toBe('visible');
    await page.mouse.move(box.x - 5, box.y);
    expect(await toldBy(parts)).toEqual({ caption: 'Arrivals', value: '' });
    expect(await parts.cursor.getAttribute('visibility')).toBe('hidden');
  });

  test('are told by arrow keys, from the first to the last, and to those who hear them', async () => {
    const { page } = await open(three);
    const parts = arrivals(page);
    const [last, stretch] = [arrived.length - 1, Math.ceil(arrived.length / 24)];
    await tabTo(page, parts.chart);
    expect(await toldBy(parts)).toEqual(toldAt(0));
    for (const [key, index] of [
      ['ArrowLeft', 0],
      ['ArrowRight', 1],
      ['End', last],
      ['ArrowRight', last],
      ['ArrowLeft', last - 1],
      ['Home', 0],
      ['PageUp', stretch],
    ] as const) {
      await page.keyboard.press(key);
      expect(await toldBy(parts), key).toEqual(toldAt(index));
    }
    const slider = page.getByRole('slider', { name: /^Arrivals/ });
    expect(await slider.getAttribute('aria-valuetext')).toBe(
      `${duration(stretch * stepMs)}: arrived ${arrived[stretch]}`,
    );
    await page.keyboard.press('Escape');
    expect(await toldBy(parts)).toEqual({ caption: 'Arrivals', value: '' });
    await page.keyboard.press('ArrowRight');
    expect(await toldBy(parts)).toEqual(toldAt(stretch + 1));
    await page.keyboard.press('Tab');
    expect(await toldBy(parts)).toEqual({ caption: 'Arrivals', value: '' });
  });

  test('stay where a finger has tapped, until it taps elsewhere', async () => {
    const { page } = await open(three, {
      viewport: { width: 400, height: 800 },
      hasTouch: true,
      isMobile: true,
    });
    const parts = arrivals(page);
    await parts.noon.tap();
    const { caption } = await toldBy(parts);
    expect(caption).toMatch(/^Arrivals at 1[12] h \d+ m$/);
    await page.locator('h3').first().tap();
    expect(await toldBy(parts)).toEqual({ caption: 'Arrivals', value: '' });
  });

  test('read as on the command line', async () => {
    const { page } = await open(single);
    const values = [0, 999, 1_000, 59_940, 61_000, 3_599_600, 86_400_000, 200_000_000_000];
    expect(await page.evaluate(`${JSON.stringify(values)}.map(duration)`)).toEqual(values.map(duration));
    expect(await page.evaluate(`${JSON.stringify([...values, 2e15])}.map(bytes)`)).toEqual(
      [...values, 2e15].map(bytes),
    );
    expect(await page.evaluate('[0, 86_400_000, 95_700_000].map(clock)')).toEqual([
      '0 ms',
      '1 d',
      '1 d 2 h 35 m',
    ]);
  });
});

describe('policies shown', () => {
  const boxOf = (page: Page, name: string) => page.getByRole('checkbox', { name, exact: true });
  const columns = async (page: Page) => Object.keys(Object.values(await figuresOf(page))[0] ?? {});
  const captions = (page: Page) => page.locator('figcaption:visible', { hasText: /^fifo/ }).count();
  const bars = (page: Page) => page.locator('g.row:visible', { hasText: /^fifo:/ }).count();

  test('a box hides its policy everywhere, and shows it again, by mouse and by keyboard', async () => {
    const { page } = await open(three);
    const before = { captions: await captions(page), bars: await bars(page) };
    expect(before.captions).toBeGreaterThan(3);
    expect(before.bars).toBeGreaterThan(10);
    await boxOf(page, 'fifo').click();
    expect(await columns(page)).toEqual(['emp', 'clairvoyant']);
    expect({ captions: await captions(page), bars: await bars(page) }).toEqual({ captions: 0, bars: 0 });
    expect((await figuresOf(page))['jobs']).toEqual({ emp: '300', clairvoyant: '300' });
    await page.getByRole('heading', { level: 1 }).click();
    await tabTo(page, boxOf(page, 'fifo'));
    await page.keyboard.press('Space');
    expect(await columns(page)).toEqual(['emp', 'fifo', 'clairvoyant']);
    expect({ captions: await captions(page), bars: await bars(page) }).toEqual(before);
  });

  test('are the same on the page and in the boxes after somebody went away and came back', async () => {
    const { page } = await open(three);
    await boxOf(page, 'fifo').click();
    await page.goto('about:blank');
    await page.goBack();
    const isChecked = await boxOf(page, 'fifo').isChecked();
    expect((await columns(page)).includes('fifo')).toBe(isChecked);
  });

  test('the boxes stay in view on a wide screen, and leave a small one to the charts', async () => {
    const { page } = await open(several);
    for (const [width, stays] of [
      [1280, true],
      [400, false],
    ] as const) {
      await page.setViewportSize({ width, height: 800 });
      await page.getByRole('heading', { name: 'The day' }).scrollIntoViewIfNeeded();
      const box = (await boxOf(page, 'emp').boundingBox())!;
      expect(box.y >= 0 && box.y < 800, `${width} px`).toBe(stays);
    }
  });
});

describe('names that look like markup', () => {
  const hostile = (what: string) =>
    `<img src=x onerror="document.title='${what}'"><script>alert('${what}')</script>${'w'.repeat(70)}`;

  test('stay text in every place, cause no request, and push nothing aside', async () => {
    const report = structuredClone(three.policies['emp']!);
    for (const key of ['byPool', 'byKind'] as const)
      report[key] = { [hostile(key)]: Object.values(report[key])[0]! };
    for (const key of ['queueDepth', 'oldestAgeMs'] as const)
      report.series[key] = { [hostile(key)]: Object.values(report.series[key])[0]! };
    const result: SimResult = {
      ...three,
      scenario: hostile('scenario'),
      command: hostile('command'),
      traceHash: hostile('trace'),
      policies: { [hostile('policy')]: report, fifo: three.policies['fifo']! },
      incidents: [{ atMs: 3_600_000, kind: hostile('kind'), what: hostile('machine') }],
    };
    const { page, said, asked, address } = await open(result, { viewport: { width: 400, height: 800 } });
    expect(await page.title()).toBe(`${hostile('scenario')} ×1: simulated day`);
    expect(await page.locator('img').count()).toBe(0);
    expect(await page.locator('script').count()).toBe(1);
    for (const name of ['scenario', 'command', 'trace'])
      expect(await page.locator('header').textContent()).toContain(hostile(name));
    expect(Object.keys((await figuresOf(page))['jobs']!)).toEqual([hostile('policy'), 'fifo']);
    await page.getByRole('checkbox').first().click();
    await page.evaluate(openAll);
    const parts = arrivals(page);
    await parts.noon.hover();
    expect(await page.evaluate(sidewaysPx)).toBe(0);
    expect({ said, asked }).toEqual({ said: [], asked: [address] });
  });
});

describe('a report is read', () => {
  test.each([
    ['light', 'rgb(255, 255, 255)'],
    ['dark', 'rgb(16, 21, 27)'],
  ] as const)(
    'in the %s scheme, every word at a contrast of 4.5 or more',
    async (colorScheme, background) => {
      const { page } = await open(several, { colorScheme });
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(background);
      await page.evaluate(openAll);
      expect(await page.evaluate(faintWords(4.5))).toEqual([]);
    },
  );

  test('on paper: light, without boxes, with every column of the figures', async () => {
    const { page } = await open(several, { viewport: { width: 718, height: 1000 }, colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print' });
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    expect(await page.getByRole('checkbox').count()).toBe(0);
    expect(await page.getByText('arrow keys').isVisible()).toBe(false);
    const edge = (await page.locator('main').boundingBox())!;
    const table = (await page.locator('table.summary').boundingBox())!;
    expect(table.x + table.width).toBeLessThanOrEqual(edge.x + edge.width);
    expect(await page.evaluate(sidewaysPx)).toBe(0);
    expect(await page.evaluate(faintWords(4.5))).toEqual([]);
    const pages = (await page.pdf({ format: 'A4' })).toString('latin1').match(/\/Type\s*\/Page\b/g) ?? [];
    expect(pages.length).toBeGreaterThan(3);
  });

  test('without its script: all figures and charts, and nothing that would not work', async () => {
    const { page, said } = await open(three, { javaScriptEnabled: false });
    expect(await figuresOf(page)).toEqual(expectedFigures(three));
    expect(await page.getByRole('checkbox').count()).toBe(0);
    expect(await page.getByText('arrow keys').isVisible()).toBe(false);
    expect(await page.getByRole('img', { name: /^Arrivals/ }).isVisible()).toBe(true);
    await page.locator('figure', { hasText: 'Arrivals' }).first().getByText('Numbers').click();
    expect(await page.getByRole('region', { name: 'Numbers of Arrivals' }).isVisible()).toBe(true);
    expect(said).toEqual([]);
  });
});
