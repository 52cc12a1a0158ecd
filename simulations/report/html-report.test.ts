import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { SimResult } from '#simulations/day/result.ts';
import { figureInfo } from './figure-info.ts';
import { htmlReport } from './html-report.ts';
import { script } from './html-script.ts';
import { darkColours, darkScheme, lightColours, lightScheme, style } from './html-style.ts';
import { fixtureChosen, fixtureResult } from './report-fixture.ts';

interface Tag {
  name: string;
  attributes: Map<string, string>;
}

const voids = new Set(['meta', 'input', 'br', 'link', 'img']);

/**
 * Reads the report as strictly as XML: every tag is closed in order, every attribute is quoted and stands
 * once, every `&` begins an entity. Answers the tags and the text between them.
 */
function read(page: string): { tags: Tag[]; text: string } {
  const tags: Tag[] = [];
  const open: string[] = [];
  let text = '';
  let rest = page.replace(/^<!doctype html>/, '');
  while (rest !== '') {
    const raw = /^(style|script)$/.exec(open.at(-1) ?? '');
    if (raw !== null) {
      const end = rest.indexOf(`</${raw[0]}>`);
      expect(end, `${raw[0]} is closed`).toBeGreaterThanOrEqual(0);
      rest = rest.slice(end);
    }
    const close = /^<\/([a-z0-9]+)>/.exec(rest);
    const tag = /^<([a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<]*")?)*)\s*(\/?)>/.exec(rest);
    const words = /^[^<]+/.exec(rest);
    const found = close ?? tag ?? words;
    if (found === null) throw new Error(`not well formed: ${rest.slice(0, 80)}`);
    rest = rest.slice(found[0].length);
    if (close !== null) expect(open.pop()).toBe(close[1]);
    else if (tag !== null) {
      const attributes = new Map<string, string>();
      for (const [, key, value] of tag[2]!.matchAll(/([a-zA-Z-]+)(?:="([^"]*)")?/g)) {
        expect(attributes.has(key!), `${key} stands twice in ${found[0]}`).toBe(false);
        attributes.set(key!, value ?? '');
      }
      tags.push({ name: tag[1]!, attributes });
      if (tag[3] === '' && !voids.has(tag[1]!)) open.push(tag[1]!);
    } else text += found[0];
  }
  expect(open).toEqual([]);
  expect(text.replace(/&(amp|lt|gt|quot|#39);/g, '')).not.toContain('&');
  return { tags, text };
}

const eight = ['fifo', 'random', 'affinity', 'hold', 'planner', 'emp', 'frugal', 'clairvoyant'];
const several = fixtureResult({ policies: eight, seeds: [1, 2], jobs: 120 });
const single = fixtureResult({ policies: ['emp'], seeds: [7], jobs: 120 });

describe('htmlReport', () => {
  test.each([
    ['one policy and one seed', single],
    ['eight policies and two seeds', several],
  ])('is well formed with %s, and every id stands once', (_name, result) => {
    const { tags } = read(htmlReport(result));
    const ids = tags.flatMap(({ attributes }) => attributes.get('id') ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { attributes } of tags) {
      for (const id of attributes.get('aria-labelledby')?.split(' ') ?? []) expect(ids).toContain(id);
    }
  });

  test('refers to nothing outside itself', () => {
    const page = htmlReport(several);
    expect(page).not.toMatch(/https?:|\/\/[a-z]|@import|url\(/i);
    const { tags } = read(page);
    for (const { name, attributes } of tags) {
      expect(['link', 'img', 'iframe', 'object', 'base', 'form', 'a']).not.toContain(name);
      for (const attribute of ['src', 'href', 'action', 'style', 'srcset']) {
        expect(attributes.has(attribute), `${attribute} of ${name}`).toBe(false);
      }
      for (const key of attributes.keys()) expect(key.startsWith('on'), key).toBe(false);
    }
  });

  test('allows its own style and script only, by hash', () => {
    const page = htmlReport(several);
    const hash = (text: string) => createHash('sha256').update(text).digest('base64');
    const policy = read(page)
      .tags.find(({ attributes }) => attributes.has('http-equiv'))!
      .attributes.get('content')!;
    const inside = (name: string) => new RegExp(`<${name}>([\\s\\S]*?)</${name}>`).exec(page)![1]!;
    expect(policy).toContain('default-src &#39;none&#39;');
    expect(policy).toContain(hash(inside('style')));
    expect(policy).toContain(hash(inside('script')));
    expect(policy).not.toContain('unsafe');
    expect(inside('style')).toBe(style);
    expect(() => runInNewContext(`(function () {${script}\n})`)).not.toThrow();
  });

  test('names from a file are text wherever they stand', () => {
    const hostile = `</title></style></script><script>alert(1)</script>"onload='x' & <!-- \u2028`;
    const report = { ...several.policies['emp']! };
    report.byPool = { [hostile]: report.byPool['standard']! };
    report.byKind = { [hostile]: report.byKind['llm']! };
    report.series = { ...report.series, queueDepth: { [hostile]: [1] }, oldestAgeMs: { [hostile]: [1] } };
    const result: SimResult = {
      ...several,
      scenario: hostile,
      command: hostile,
      traceHash: hostile,
      versions: { emp: hostile, node: hostile },
      policies: { [hostile]: report, fifo: several.policies['fifo']! },
      incidents: [{ atMs: 1, kind: hostile, what: hostile }],
    };
    const page = htmlReport(result);
    const { tags, text } = read(page);
    expect(tags.filter(({ name }) => name === 'script')).toHaveLength(1);
    expect(page).not.toContain('<script>alert');
    expect(page).not.toContain('<!--');
    expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  });

  test('tells scenario, seeds, load, command, versions, trace and invariants', () => {
    const { text } = read(htmlReport(several));
    for (const part of [
      several.scenario,
      '1, 2',
      '×1',
      several.command,
      'emp 0.1.0, Node 24.0.0',
      several.traceHash,
      '0 violated of 123\u00a0456 checks',
    ]) {
      expect(text).toContain(part);
    }
  });

  test('a violated invariant stands out', () => {
    const page = htmlReport({ ...single, invariants: { checked: 10, violated: 2 } });
    expect(page).toContain('<span class="bad">2 violated of 10 checks</span>');
  });

  test('every chart has a title, a description and its numbers in a table', () => {
    const page = htmlReport(several);
    const figures = page.split('<script>')[0]!.split('<figure').slice(1);
    expect(figures.length).toBeGreaterThan(30);
    for (const figure of figures) {
      expect(figure).toMatch(/<svg [^>]*role="img" aria-labelledby=/);
      expect(figure).toMatch(/<title id="[^"]+">[^<]+<\/title><desc id="[^"]+">[^<]+<\/desc>/);
      expect(figure).toMatch(/<details><summary>.*<table(?: class="words")?><thead>[\s\S]*<tbody>\s*<tr>/);
      // In the samples null stands for a gap.
      expect(figure.replace(/data-time="[^"]*"/, '')).not.toMatch(/NaN|Infinity|undefined|null/);
    }
  });

  test('all figures stand in one table with policies side by side', () => {
    const table = /<table class="summary">([\s\S]*?)<\/table>/.exec(htmlReport(several))![1]!;
    for (const { label } of Object.values(figureInfo)) expect(table).toContain(`>${label}</th>`);
    for (const row of table.split('<tr>').slice(2)) expect(row.match(/<td/g)).toHaveLength(eight.length);
    expect(table).toContain('(best)');
  });

  test('a fleet that is scripted is drawn once, one that policies choose is drawn for each', () => {
    const count = (result: SimResult) => htmlReport(result).match(/id="time-fleet-\d+-t"/g)?.length;
    expect(count(several)).toBe(1);
    const other = structuredClone(several);
    other.policies['emp']!.series.machinesRunning[3] = 99;
    expect(count(other)).toBe(eight.length);
  });

  test('what a policy took after the day does not part what all share, and lengthens the axis of the rest', () => {
    const longer = structuredClone(several);
    const { series } = longer.policies['fifo']!;
    for (const list of [series.machinesWanted, series.machinesRunning, series.machinesLost, series.ended])
      list.push(...list.slice(-12));
    const page = htmlReport(longer);
    expect(page.match(/id="time-fleet-\d+-t"/g)).toHaveLength(1);
    const ends = [...page.matchAll(/aria-labelledby="time-(\w+)-\d+-t[^>]*?&quot;endMs&quot;:(\d+)/g)];
    const endsOf = (metric: string) =>
      new Set(ends.filter(([, key]) => key === metric).map(([, , endMs]) => Number(endMs)));
    expect(endsOf('fleet')).toEqual(new Set([several.spanMs]));
    expect(endsOf('ended')).toEqual(new Set([several.spanMs + 12 * series.stepMs]));
  });

  test('where each policy chose its machines, each has a chart of them and of what happened to them', () => {
    const page = htmlReport(fixtureChosen(['emp', 'fifo']));
    const { tags, text } = read(page);
    const ids = tags.flatMap(({ attributes }) => attributes.get('id') ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ['incidents-0', 'incidents-1', 'time-fleet-0', 'time-fleet-1'])
      expect(ids).toContain(`${id}-t`);
    expect(ids).not.toContain('incidents-t');
    expect(text).toContain('What happened to the fleet: emp');
    expect(text).toContain('standard 13, was 10: 11.2 for what arrives');
    expect(tags.filter(({ attributes }) => attributes.get('class') === 'words')).toHaveLength(2);
    expect(text).toContain('each with the machines that were asked for under it');
    expect(text).not.toContain('The same jobs, machines, losses and seeds');
    expect(page).toMatch(
      /<figure data-policy="1">\s*<figcaption>fifo<\/figcaption>\s*<svg[^>]*incidents-1-t/,
    );
  });

  test('where the fleet is a script, one chart of it stands for all', () => {
    const { tags, text } = read(htmlReport(several));
    const ids = tags.flatMap(({ attributes }) => attributes.get('id') ?? []);
    expect(ids).toContain('incidents-t');
    expect(ids.some((id) => id.startsWith('incidents-0'))).toBe(false);
    expect(text).toContain('The same jobs, machines, losses and seeds');
  });

  test('a result without samples and without incidents is still a page', () => {
    const empty = structuredClone(single);
    const { series } = empty.policies['emp']!;
    for (const key of [
      'machinesWanted',
      'machinesRunning',
      'machinesLost',
      'arrived',
      'ended',
      'waitP95Ms',
      'busyShare',
      'downloadBytes',
    ] as const) {
      series[key] = [];
    }
    Object.assign(series, { queueDepth: {}, oldestAgeMs: {} });
    Object.assign(empty, { incidents: [] });
    empty.policies['emp']!.byPool = {};
    expect(htmlReport(empty).split('<script>')[0]).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe('colours', () => {
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map((from) => {
      const part = Number.parseInt(hex.slice(from, from + 2), 16) / 255;
      return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const contrast = (a: string, b: string) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high! + 0.05) / (low! + 0.05);
  };

  test.each([
    ['light', lightScheme, lightColours],
    ['dark', darkScheme, darkColours],
  ])('%s: text has a contrast of 7 : 1, lines of 4.5 : 1', (_name, scheme, colours) => {
    expect(contrast(scheme.text, scheme.background)).toBeGreaterThan(7);
    expect(contrast(scheme.quiet, scheme.background)).toBeGreaterThan(7);
    for (const colour of colours) expect(contrast(colour, scheme.background), colour).toBeGreaterThan(4.5);
  });
});
