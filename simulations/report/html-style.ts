/**
 * Style of the report. Colours c0 to c7 keep a contrast of at least 4.5 : 1 to their background in both
 * schemes, text 7 : 1; a test computes them. Nothing is fetched: fonts are those of the system.
 */
export const lightColours = [
  '#0a58ca',
  '#b8430c',
  '#1a7f37',
  '#7d3cc0',
  '#b8246a',
  '#0b6e85',
  '#756000',
  '#57606a',
];
export const darkColours = [
  '#6cb0ff',
  '#ff9d5c',
  '#5ecb79',
  '#c7a2ff',
  '#ff8fc2',
  '#4cd0de',
  '#dfc14a',
  '#aab4be',
];
export const lightScheme = { background: '#ffffff', text: '#1b1f24', quiet: '#4f5963' };
export const darkScheme = { background: '#10151b', text: '#e8edf2', quiet: '#a8b3bf' };

const variables = (colours: readonly string[]) =>
  colours.map((colour, index) => `--c${index}:${colour};`).join('');

const light = `color-scheme:light;--bg:${lightScheme.background};--raised:#f5f7f9;--text:${lightScheme.text};--quiet:${lightScheme.quiet};--edge:#d5dbe1;--rule:#e4e9ee;--best:#e3f4e7;--bad:#b3261e;${variables(lightColours)}`;
const dark = `color-scheme:dark;--bg:${darkScheme.background};--raised:#182029;--text:${darkScheme.text};--quiet:${darkScheme.quiet};--edge:#37424e;--rule:#26303a;--best:#173524;--bad:#ff8a80;${variables(darkColours)}`;

const colourClasses = Array.from({ length: 8 }, (_, index) => `.c${index}{--c:var(--c${index})}`).join('');

export const style = `
:root{${light}}
@media (prefers-color-scheme:dark){:root{${dark}}}
${colourClasses}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:1560px;margin:0 auto;padding:0 20px}
header{padding-top:24px}
h1{margin:0;font-size:1.7rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:40px 0 4px;font-size:1.25rem}
h3{margin:20px 0 4px;font-size:1rem}
p{margin:4px 0;max-width:75ch}
.lead,.meaning,footer,.note{color:var(--quiet)}
.meaning{font-size:.85rem}
.bad{color:var(--bad);font-weight:700}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,10rem),1fr));gap:8px 24px;margin:16px 0}
dl.facts dt{color:var(--quiet);font-size:.85rem}
dl.facts dd{margin:0;overflow-wrap:anywhere}
code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
.scroll{position:relative;overflow-x:auto;border:1px solid var(--edge);border-radius:6px;margin:8px 0}
details .scroll{max-height:22rem;overflow-y:auto}
:focus-visible{outline:2px solid var(--c0);outline-offset:2px}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:100%}
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
thead th{position:sticky;top:0;background:var(--raised)}
th:first-child,.left td,.words th,.words td{text-align:left}
.words{width:100%}
.words td:last-child{white-space:normal;overflow-wrap:anywhere}
tbody th{font-weight:400}
table.summary{min-width:0}
.fit{width:fit-content;max-width:100%}
table.summary th:first-child{position:sticky;left:0;z-index:1;background:var(--raised);min-width:min(13rem,42vw);white-space:normal}
thead th{max-width:16rem;overflow:hidden;text-overflow:ellipsis}
tr.group th{color:var(--quiet);font-size:.8rem;text-transform:uppercase;letter-spacing:.04em;padding-top:12px;background:var(--raised)}
td.best{background:var(--best);font-weight:600}
tr:last-child>*{border-bottom:0}
.wide{grid-column:1/-1}
.pairs{grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr))!important;max-width:1300px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,360px),1fr));gap:16px;margin:12px 0}
figure{margin:0;padding:12px 12px 8px;border:1px solid var(--edge);border-radius:8px;background:var(--bg);min-width:0;max-width:640px;container-type:inline-size}
figcaption{font-weight:600;overflow-wrap:anywhere}
svg{display:block;overflow:visible;width:100%;max-width:500px;height:auto;margin:6px 0 2px}
svg text{fill:var(--text);font:13px system-ui,sans-serif;font-variant-numeric:tabular-nums}
svg .tick{fill:var(--quiet);font-size:12px}
.end{text-anchor:end}.middle{text-anchor:middle}.start{text-anchor:start}
svg .name{text-anchor:end}
.rule{stroke:var(--rule);fill:none}
.line{stroke:var(--c);stroke-width:1.8;fill:none;stroke-linejoin:round;stroke-linecap:round}
.bar,.fill,.mark{fill:var(--c)}
.mark{stroke:var(--c)}
.range{stroke:var(--c);stroke-width:2;opacity:.55}
.whisker{stroke:var(--text);stroke-width:1.5;fill:none}
.halo{stroke:var(--bg)!important;stroke-width:4.5!important;stroke-dasharray:none!important}
.target{stroke:var(--text);stroke-width:1.5;stroke-dasharray:5 4;fill:none}
.cursor{stroke:var(--text);stroke-width:1}
svg[data-time]{touch-action:pan-y;cursor:crosshair}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.85rem;margin:2px 0;overflow-wrap:anywhere}
.legend b{margin-left:6px;font-variant-numeric:tabular-nums}
.key{display:inline-block;flex:none;width:14px;height:4px;border-radius:2px;background:var(--c);vertical-align:middle;margin-right:6px}
details{font-size:.85rem}
summary{cursor:pointer;color:var(--quiet)}
.away{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.choose{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:baseline;overflow-wrap:anywhere;padding:10px 0;margin-top:12px;background:var(--bg);border-bottom:1px solid var(--edge)}
.choose label{display:inline-flex;gap:6px;align-items:baseline;cursor:pointer}
.choose b{font-weight:600}
[hidden]{display:none!important}
@media (min-width:700px){.choose{position:sticky;top:0;z-index:2}:root{scroll-padding-top:5rem}}
@container (max-width:420px){svg text{font-size:14.5px}svg .tick{font-size:13.5px}}
footer{margin-top:40px;padding-bottom:32px;font-size:.85rem}
@media print{
:root{${light}}
details,.choose,.scripted{display:none!important}
.scroll{overflow:visible}
header,main,footer{padding:0}
table{font-size:.7rem}
th,td,table.summary th:first-child{position:static;min-width:0;padding:2px 4px;white-space:normal}
thead th{overflow-wrap:break-word}
h2,h3,h2+.note,h3+.note{break-after:avoid}
figure,tr{break-inside:avoid}
}
`;
