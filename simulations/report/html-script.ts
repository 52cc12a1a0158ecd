/**
 * Script of the report: the page says everything without it. It shows and hides policies, and tells the
 * values under the pointer or where arrow keys lead. It reads its data from attributes and writes text
 * only, never markup.
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
  if (minutes < 1440) return Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' m';
  const hours = Math.round(minutes / 60);
  return Math.floor(hours / 24) + ' d ' + (hours % 24) + ' h';
};
const dayMs = 86400000;
// Of a time of the day the minutes count on the second day too.
const clock = (ms) => {
  if (ms < dayMs) return duration(ms);
  return Math.floor(ms / dayMs) + ' d' + (ms % dayMs === 0 ? '' : ' ' + duration(ms % dayMs));
};
const bytes = (count) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return (unit === 0 ? count : count.toFixed(count < 9.95 ? 2 : count < 99.95 ? 1 : 0)) + ' ' + units[unit];
};
const formats = {
  ms: duration,
  bytes,
  share: (value) => (value * 100).toFixed(1) + ' %',
  count: (value) => String(Math.round(value * 10) / 10),
};
for (const hint of document.querySelectorAll('.scripted')) hint.hidden = false;
for (const svg of document.querySelectorAll('svg[data-time]')) {
  const { left, right, endMs, stepMs, unit, lines } = JSON.parse(svg.dataset.time);
  const cursor = svg.querySelector('.cursor');
  const places = [...svg.parentElement.querySelectorAll('[data-line]')];
  const at = document.createElement('span');
  at.className = 'note';
  svg.parentElement.querySelector('figcaption').append(at);
  const samples = Math.max(1, ...lines.map((line) => line.values.length));
  let index = 0;
  let isShown = false;
  const told = () => lines.map(({ values }) => {
    const value = values[index];
    return value === null || value === undefined ? '-' : formats[unit](value);
  });
  // A chart that arrow keys walk along is a slider to those who hear it.
  const sound = () => {
    const values = told().map((value, i) => lines[i].name + ' ' + value);
    svg.setAttribute('aria-valuenow', index);
    svg.setAttribute('aria-valuetext', clock(index * stepMs) + ': ' + values.join(', '));
  };
  const show = (wanted) => {
    index = Math.min(samples - 1, Math.max(0, wanted));
    isShown = true;
    const middle = Math.min(1, ((index + 0.5) * stepMs) / endMs);
    cursor.setAttribute('transform', 'translate(' + (left + middle * (right - left)) + ' 0)');
    cursor.setAttribute('visibility', 'visible');
    at.textContent = ' at ' + clock(index * stepMs);
    told().forEach((value, i) => { places[i].textContent = value; });
    sound();
  };
  const hide = () => {
    isShown = false;
    cursor.setAttribute('visibility', 'hidden');
    at.textContent = '';
    for (const place of places) place.textContent = '';
  };
  const point = (event) => {
    const bounds = svg.getBoundingClientRect();
    const x = ((event.clientX - bounds.left) / bounds.width) * svg.viewBox.baseVal.width;
    const share = Math.min(1, Math.max(0, (x - left) / (right - left)));
    show(Math.floor((share * endMs) / stepMs));
  };
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointermove', point);
  // A finger that is lifted leaves what it asked for, until it asks elsewhere.
  svg.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') hide(); });
  svg.addEventListener('focus', () => { if (!isShown) show(index); });
  svg.addEventListener('blur', hide);
  const stretch = Math.ceil(samples / 24);
  const moves = {
    ArrowLeft: () => index - 1,
    ArrowRight: () => index + 1,
    ArrowDown: () => index - 1,
    ArrowUp: () => index + 1,
    PageDown: () => index - stretch,
    PageUp: () => index + stretch,
    Home: () => 0,
    End: () => samples - 1,
  };
  svg.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Escape') return hide();
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    show(move());
  });
  const attributes = { role: 'slider', tabindex: 0, 'aria-orientation': 'horizontal', 'aria-valuemin': 0, 'aria-valuemax': samples - 1 };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  sound();
}
`;
