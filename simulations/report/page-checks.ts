/**
 * What the browser tests of the report ask of a page, as source that runs inside of it: the compiler here
 * knows no document. Each answers a list of faults, one line each; empty = none.
 */

const parts = `
const shown = (element) => {
  const { width, height } = element.getBoundingClientRect();
  return width > 0 && height > 0 && getComputedStyle(element).visibility === 'visible' && !element.closest('.away');
};
const told = (element) => JSON.stringify(element.textContent.trim().slice(0, 40));
const chartOf = (element) => element.closest('svg').querySelector('title').textContent;
`;

const asked = (body: string) => `(() => {${parts}${body}})()`;

/** Words of a chart that lie on each other, or that are cut by its edge or end outside of its frame. */
export const chartWordFaults = asked(`
  const faults = [];
  for (const figure of document.querySelectorAll('figure')) {
    const svg = figure.querySelector('svg');
    const frame = (getComputedStyle(svg).overflow === 'visible' ? figure : svg).getBoundingClientRect();
    const words = [...figure.querySelectorAll('svg text')].filter(shown).map((text) => ({ text, box: text.getBoundingClientRect() }));
    words.forEach(({ text, box }, index) => {
      if (box.left < frame.left || box.right > frame.right) faults.push(chartOf(text) + ': ' + told(text) + ' leaves the frame');
      for (const other of words.slice(index + 1)) {
        const apart = box.right <= other.box.left || other.box.right <= box.left || box.bottom - 3 <= other.box.top || other.box.bottom - 3 <= box.top;
        if (!apart) faults.push(chartOf(text) + ': ' + told(text) + ' lies on ' + told(other.text));
      }
    });
  }
  return faults;`);

/** Words that are hard to read for their size: less than `px` on the screen. */
export const smallWords = (px: number) =>
  asked(`
  const faults = [];
  for (const text of document.querySelectorAll('svg text')) {
    const { width } = text.closest('svg').getBoundingClientRect();
    if (width === 0 || text.textContent === '') continue;
    const size = (Number.parseFloat(getComputedStyle(text).fontSize) * width) / text.closest('svg').viewBox.baseVal.width;
    if (size < ${px}) faults.push(chartOf(text) + ': ' + told(text) + ' has ' + size.toFixed(1) + ' px');
  }
  return faults;`);

/** Words whose contrast to what is behind them is less than `ratio`, in the scheme and medium that the page has now. */
export const faintWords = (ratio: number) =>
  asked(`
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgba(getComputedStyle(each).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faults = new Set();
  let judged = 0;
  for (const element of document.querySelectorAll('body *')) {
    const hasWords = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
    if (!hasWords || !shown(element)) continue;
    judged += 1;
    const style = getComputedStyle(element);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [luminance(colour), luminance(behind(element))].sort((a, b) => a - b);
    const found = (high + 0.05) / (low + 0.05);
    if (found < ${ratio}) faults.add(element.tagName + ' ' + told(element) + ' has ' + found.toFixed(1));
  }
  return judged > 50 ? [...faults] : ['only ' + judged + ' words were judged'];`);

/** Charts without anything drawn: no line, bar or mark that has a size. */
export const emptyCharts = asked(`
  return [...document.querySelectorAll('figure svg')].filter(shown).filter((svg) => {
    const drawn = [...svg.querySelectorAll('.line, .bar, .fill, .mark, .range')].map((each) => each.getBBox());
    return !drawn.some(({ width, height }) => width + height > 1);
  }).map(chartOf);`);

/** How far the page is wider than its window, px. */
export const sidewaysPx = '(document.documentElement.scrollWidth - document.documentElement.clientWidth)';

/** Unfolds everything, so that it is judged as well. */
export const openAll = 'for (const each of document.querySelectorAll("details")) each.open = true';
