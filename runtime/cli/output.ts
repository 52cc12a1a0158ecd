import { styleText } from 'node:util';
import type { ErrorReport } from './errors.ts';

/** Where a command writes: the process's streams, or buffers in tests. */
export interface Streams {
  stdout: { write(text: string): unknown; isTTY?: boolean; columns?: number };
  stderr: { write(text: string): unknown; isTTY?: boolean; columns?: number };
}

export interface OutputOptions {
  json: boolean;
  quiet: boolean;
  verbose: boolean;
  /** False after `--no-color`. */
  color: boolean;
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Escape sequences and control characters out of names and messages: they come from other people. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, ' ');
}

/**
 * Data on stdout, everything else on stderr. With `--json` stdout holds JSON only and stderr at most
 * one JSON object, the error; notes are for people and stay away unless `-v` asks for them.
 */
export class Output {
  readonly #streams: Streams;
  readonly #options: OutputOptions;
  readonly #env: NodeJS.ProcessEnv;
  #liveLines = 0;

  constructor(streams: Streams, options: OutputOptions, env: NodeJS.ProcessEnv) {
    this.#streams = streams;
    this.#options = options;
    this.#env = env;
  }

  get json(): boolean {
    return this.#options.json;
  }

  get verbose(): boolean {
    return this.#options.verbose;
  }

  /** Columns of stdout; 100 where it is no terminal. */
  get width(): number {
    return this.#streams.stdout.columns ?? 100;
  }

  /** Whether lines on stderr may be drawn again in place. */
  get isLive(): boolean {
    return (
      this.#streams.stderr.isTTY === true &&
      !this.json &&
      !this.#options.quiet &&
      this.#env['TERM'] !== 'dumb'
    );
  }

  showsColour(stream: keyof Streams): boolean {
    return (
      this.#options.color &&
      !this.#env['NO_COLOR'] &&
      this.#env['TERM'] !== 'dumb' &&
      this.#streams[stream].isTTY === true
    );
  }

  /** Text in a style where `stream` shows colour; NO_COLOR (any value but empty) switches it off. */
  style(style: Style, text: string, stream: keyof Streams = 'stdout'): string {
    return this.showsColour(stream) ? styleText(style, text, { validateStream: false }) : text;
  }

  /** One line of data for people. */
  line(text = ''): void {
    this.clearLive();
    this.#streams.stdout.write(`${text}\n`);
  }

  /** One JSON document on one line. */
  object(value: unknown): void {
    this.clearLive();
    this.#streams.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** `value` as JSON with `--json`, else what `draw` prints. */
  result(value: unknown, draw: () => void): void {
    if (this.json) this.object(value);
    else draw();
  }

  /** The same of what was done although something about it is odd: remarks on stderr, `warnings` in the JSON. */
  resultWithWarnings(value: object, warnings: string[], draw: () => void): void {
    for (const warning of warnings) this.note(`warning: ${printable(warning)}`);
    this.result(warnings.length > 0 ? { ...value, warnings } : value, draw);
  }

  /** A remark on stderr. */
  note(text: string): void {
    if (this.#options.quiet || (this.json && !this.verbose)) return;
    this.clearLive();
    this.#streams.stderr.write(`${text}\n`);
  }

  /** A remark that only `-v` shows. */
  detail(text: string): void {
    if (this.verbose) this.note(this.style('dim', text, 'stderr'));
  }

  /** Lines on stderr that replace the last ones; nothing where they cannot be replaced. */
  live(lines: string[]): void {
    if (!this.isLive) return;
    const width = this.#streams.stderr.columns ?? 80;
    this.clearLive();
    this.#streams.stderr.write(lines.map((text) => `${cut(printable(text), width - 1)}\n`).join(''));
    this.#liveLines = lines.length;
  }

  clearLive(): void {
    if (this.#liveLines === 0) return;
    this.#streams.stderr.write(`\u001b[${this.#liveLines}A\u001b[0J`);
    this.#liveLines = 0;
  }

  /** Rows under their headings, columns padded; numbers and times are for the caller to format. */
  table(headings: string[], rows: string[][]): void {
    if (rows.length === 0) return this.note('nothing to show');
    const widths = headings.map((heading, column) =>
      Math.max(heading.length, ...rows.map((row) => printable(row[column] ?? '').length)),
    );
    const format = (row: string[]) =>
      row
        .map((text, column) => (column === row.length - 1 ? text : text.padEnd(widths[column] ?? 0)))
        .join('  ')
        .trimEnd();
    this.line(this.style('bold', format(headings)));
    for (const row of rows) this.line(this.#paint(format(row.map((text) => printable(text)))));
  }

  #paint(row: string): string {
    return row.replace(
      /\b(succeeded|joined|ok)\b|\b(failed|dead|lost|missed)\b|\b(leased|waiting|scheduled|held|draining)\b/,
      (word, good: string | undefined, bad: string | undefined) =>
        this.style(good !== undefined ? 'green' : bad !== undefined ? 'red' : 'yellow', word),
    );
  }

  /** The error form: what failed, what is likely behind it, what to try, and the code. */
  error(report: ErrorReport): void {
    this.clearLive();
    if (this.json) {
      this.#streams.stderr.write(`${JSON.stringify(report)}\n`);
      return;
    }
    const fields = report.errors
      .map(({ pointer, detail }) => `  ${pointer && `at ${printable(pointer)}: `}${printable(detail)}\n`)
      .join('');
    const trace = report.traceId === null ? '' : `  trace: ${printable(report.traceId)}\n`;
    this.#streams.stderr.write(
      `${this.style('red', 'error:', 'stderr')} ${headline(report)}\n${fields}` +
        `  likely: ${printable(report.likely)}\n  try: ${printable(report.try)}\n${trace}  code: ${report.code}\n`,
    );
  }
}

/**
 * What failed, on one line: of several lines those that do not come below as fields, `; ` between them.
 * They are not printed as lines, because a line of somebody else's text could pass for one of ours.
 */
function headline({ error, errors }: ErrorReport): string {
  const [first = '', ...rest] = error.split(/\s*\n\s*/);
  const others = rest.filter((line) => line !== '' && !errors.some(({ detail }) => detail === line));
  if (others.length === 0) return printable(rest.length === 0 ? first : first.replace(/:$/, ''));
  return printable(first.endsWith(':') ? `${first} ${others.join('; ')}` : [first, ...others].join('; '));
}

/** Cuts a line to the width of the terminal: a wrapped line could not be taken back. */
function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
