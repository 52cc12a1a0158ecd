/**
 * Script of the report: the page says everything without it. It shows and hides policies, and tells the
 * values under the pointer. It reads its data from attributes and writes text only, never markup.
 */
export const script = `
'use strict';
const policies = document.querySelectorAll('[data-policy]');
const choose = document.querySelector('.choose');
if (choose) {
  choose.hidden = false;
  choose.addEventListener('change', () => {
    const shown = new Set([...choose.querySelectorAll('input:checked')].map((input) => input.value));
    for (const element of policies) {
      const isShown = shown.has(element.dataset.policy);
      if (element instanceof SVGElement) element.setAttribute('visibility', isShown ? 'visible' : 'hidden');
      else element.hidden = !isShown;
    }
  });
}
const duration = (ms) => {
  if (ms < 1000) return Math.round(ms) + ' ms';
  if (ms < 60000) return (ms / 1000).toFixed(1) + ' s';
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return Math.floor(seconds / 60) + ' m ' + (seconds % 60) + ' s';
  const minutes = Math.round(seconds / 60);
  return Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' m';
};
const bytes = (count) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return count.toPrecision(3) + ' ' + units[unit];
};
const formats = {
  ms: duration,
  bytes,
  share: (value) => (value * 100).toFixed(1) + ' %',
  count: (value) => String(Math.round(value * 10) / 10),
};
for (const svg of document.querySelectorAll('svg[data-time]')) {
  const { left, right, endMs, stepMs, unit, lines } = JSON.parse(svg.dataset.time);
  const cursor = svg.querySelector('.cursor');
  const places = [...svg.parentElement.querySelectorAll('[data-line]')];
  const caption = svg.parentElement.querySelector('figcaption');
  const at = document.createElement('span');
  at.className = 'note';
  caption.append(at);
  const samples = Math.max(...lines.map((line) => line.values.length));
  svg.addEventListener('pointermove', (event) => {
    const bounds = svg.getBoundingClientRect();
    const x = ((event.clientX - bounds.left) / bounds.width) * svg.viewBox.baseVal.width;
    const share = Math.min(1, Math.max(0, (x - left) / (right - left)));
    const index = Math.min(samples - 1, Math.floor((share * endMs) / stepMs));
    const middle = Math.min(1, ((index + 0.5) * stepMs) / endMs);
    cursor.setAttribute('transform', 'translate(' + (left + middle * (right - left)) + ' 0)');
    cursor.setAttribute('visibility', 'visible');
    at.textContent = ' at ' + duration(index * stepMs);
    lines.forEach((line, i) => {
      const value = line.values[index];
      places[i].textContent = value === null || value === undefined ? '-' : formats[unit](value);
    });
  });
  svg.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    at.textContent = '';
    for (const place of places) place.textContent = '';
  });
}
`;
