import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { EmpError } from '#protocol/errors.ts';

/** Limits on a file that somebody else wrote; a gzip bomb ends at the bytes. */
export const csvLimits = { rows: 2_000_000, lineCharacters: 65_536, bytes: 2_147_483_648, columns: 200 };

/** A refusal of a trace file: file, line and field, and what to do. */
export function csvRefusal(
  at: { file: string; line?: number; field?: string; cause?: unknown },
  detail: string,
): EmpError {
  const { file, line, field, cause } = at;
  const place = line === undefined ? file : `${file}:${line}`;
  const what = field === undefined ? detail : `${field}: ${detail}`;
  return new EmpError('VALIDATION_FAILED', {
    detail: `${place}: ${what}`,
    cause,
    fields: { file, ...(line === undefined ? {} : { line }), ...(field === undefined ? {} : { field }) },
  });
}

/** One row of a file, its cells by name of the column. Lines count from 1, the header is line 1. */
export class CsvRow {
  readonly file: string;
  readonly line: number;
  readonly #columns: ReadonlyMap<string, number>;
  readonly #cells: string[];

  constructor(at: { file: string; line: number }, columns: ReadonlyMap<string, number>, cells: string[]) {
    this.file = at.file;
    this.line = at.line;
    this.#columns = columns;
    this.#cells = cells;
  }

  text(field: string): string {
    return this.#cells[this.#columns.get(field) ?? -1] ?? '';
  }

  /** Text that is not empty and fits a name, or a refusal. */
  name(field: string): string {
    const text = this.text(field);
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) return text;
    throw this.refusal(field, `"${text.slice(0, 40)}" is no name: 1 to 64 characters of A-Z a-z 0-9 . _ -`);
  }

  /** A decimal number from `min` to `max`, or a refusal. */
  number(field: string, { min, max }: { min: number; max: number }): number {
    const text = this.text(field);
    const value = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw this.refusal(
      field,
      `"${text.slice(0, 40)}" is no number from ${min} to ${max}; correct the cell or drop the row`,
    );
  }

  refusal(field: string, detail: string): EmpError {
    return csvRefusal({ file: this.file, line: this.line, field }, detail);
  }
}

/** What makes something of the rows of one file. All of it may throw refusals. */
export interface CsvReader<T> {
  row(row: CsvRow): void;
  /** Called once after the last row, of which there is at least one. */
  end(file: string): T;
}

/**
 * Streams a CSV file, or a gzipped one by its `.gz` ending, through the reader that `open` chooses by the names
 * of the columns. Cells are plain: no quotes, no commas inside. Throws `VALIDATION_FAILED` with file, line and
 * field for whatever it cannot take.
 */
export async function readCsv<T>(
  path: string,
  open: (columns: readonly string[], file: string) => CsvReader<T>,
): Promise<T> {
  const file = basename(path);
  const lines = new Lines(file, open);
  const collect = async (source: AsyncIterable<string>) => {
    for await (const chunk of source) lines.push(chunk);
  };
  const text = (source: AsyncIterable<Buffer>) => decoded(source, file);
  try {
    const bytes = createReadStream(path);
    if (path.endsWith('.gz')) await pipeline(bytes, createGunzip(), text, collect);
    else await pipeline(bytes, text, collect);
    return lines.end();
  } catch (cause) {
    if (cause instanceof EmpError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw csvRefusal({ file, cause }, `the file cannot be read: ${why}`);
  }
}

async function* decoded(source: AsyncIterable<Buffer>, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > csvLimits.bytes)
      throw csvRefusal({ file }, `it has more than ${csvLimits.bytes} bytes; split it`);
    yield decoder.decode(chunk, { stream: true });
  }
  yield decoder.decode();
}

/** Puts chunks together to lines and hands them on as rows. */
class Lines<T> {
  readonly #file: string;
  readonly #open: (columns: readonly string[], file: string) => CsvReader<T>;
  #reader: CsvReader<T> | null = null;
  #columns = new Map<string, number>();
  #rest = '';
  #line = 0;

  constructor(file: string, open: (columns: readonly string[], file: string) => CsvReader<T>) {
    this.#file = file;
    this.#open = open;
  }

  push(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
    this.#checkLength(this.#rest, this.#line + 1);
  }

  end(): T {
    if (this.#rest !== '') this.#take(this.#rest);
    const file = this.#file;
    if (this.#reader === null) throw csvRefusal({ file }, 'it is empty: a header line and rows are expected');
    if (this.#line === 1) throw csvRefusal({ file }, 'it has a header and no rows');
    return this.#reader.end(file);
  }

  #take(raw: string): void {
    this.#line++;
    this.#checkLength(raw, this.#line);
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    const at = { file: this.#file, line: this.#line };
    if (line.includes('"')) throw csvRefusal(at, 'quoted cells are not read; write cells without quotes');
    const cells = line.split(',');
    if (this.#reader === null) return this.#header(cells);
    if (cells.length !== this.#columns.size) {
      throw csvRefusal(at, `it has ${cells.length} cells, the header names ${this.#columns.size} columns`);
    }
    if (this.#line > csvLimits.rows + 1)
      throw csvRefusal(at, `more than ${csvLimits.rows} rows; split the file`);
    this.#reader.row(new CsvRow(at, this.#columns, cells));
  }

  #header(names: string[]): void {
    const at = { file: this.#file, line: 1 };
    if (names.length > csvLimits.columns) throw csvRefusal(at, `more than ${csvLimits.columns} columns`);
    this.#columns = new Map(names.map((name, index) => [name.trim(), index]));
    if (this.#columns.size < names.length) throw csvRefusal(at, 'two columns have the same name');
    this.#reader = this.#open([...this.#columns.keys()], this.#file);
  }

  #checkLength(text: string, line: number): void {
    if (text.length <= csvLimits.lineCharacters) return;
    throw csvRefusal(
      { file: this.#file, line },
      `more than ${csvLimits.lineCharacters} characters in a line`,
    );
  }
}
