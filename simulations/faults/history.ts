import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { JobState } from '#protocol/job.ts';
import { JsonObject } from '#protocol/json.ts';
import { FencingToken } from '#protocol/token.ts';

/**
 * The published form of a fault run: one JSON document a line, in the order in which the runner learned
 * of it. docs/faults.md describes it for readers; these schemas are what `emp chaos check` accepts.
 * `tMs` is monotonic time of the runner since the first line; `atMs` is wall time, ms since 1970, by
 * the clock of the computer, which all processes of a run share.
 */

const T = z.number().min(0);
const At = z.number();
const text = z.string().max(4_000);

/** Format of files that are written. Those of formats 2 and 3 are read as well; no other is. */
export const historyFormat = 4;
/** Those before tell no `rest`. */
export const restFormat = 3;
/** Those before carry no digest of their lines. */
export const digestFormat = 4;

/** The first line: what was run, on what, with which settings. */
export const MetaLine = z.strictObject({
  kind: z.literal('meta'),
  format: z.union([z.literal(2), z.literal(restFormat), z.literal(historyFormat)]),
  fault: z.string(),
  run: z.int().min(1),
  seed: z.int(),
  jobs: z.int().min(1),
  startedAtMs: At,
  /** Number of the run for which its cluster was started: their logs lie in `cluster-<number>`. */
  clusterFrom: z.int().min(1),
  /** Runs that the cluster had seen before this one. */
  runsBefore: z.int().min(0),
  /** Number of the last event that belongs to them; 0 on a fresh cluster. */
  afterSeq: z.int().min(0),
  versions: z.record(z.string(), z.string()),
  settings: JsonObject,
});

/**
 * One call of a client. `invoke` before it is sent; then `ok` with the answer, `fail` where it was
 * refused for certain, or `info` where nobody knows whether it took place (no answer, or a 5xx). An
 * `invoke` of the client `earlier` is a submit of a run before, on the same cluster, of which nobody
 * knows yet whether it was accepted.
 */
export const OpLine = z.strictObject({
  kind: z.literal('op'),
  tMs: T,
  client: z.string(),
  call: z.int().min(1),
  op: z.enum(['submit', 'get', 'cancel', 'requeue']),
  type: z.enum(['invoke', 'ok', 'fail', 'info']),
  jobId: z.string(),
  /** On `invoke` of a submit: how many files the job is to make. */
  outputs: z.int().min(0).optional(),
  /** On `invoke` of a submit: the failure that its payload asks for, and the counted runs after which it is dead. */
  failWith: z.enum(['none', 'retryable', 'permanent']).optional(),
  maxAttempts: z.int().min(1).optional(),
  /** On `ok`: the state that the answer told; of a cancel `cancelled` or `requested`. */
  state: z.string().optional(),
  detail: text.optional(),
});

/** What the nemesis did. `inject` and `heal` of one fault share `number`; `note` is what it saw. */
export const NemesisLine = z.strictObject({
  kind: z.literal('nemesis'),
  tMs: T,
  atMs: At,
  action: z.enum(['inject', 'heal', 'note']),
  number: z.int().min(0),
  detail: text,
});

export const ProcessLine = z.strictObject({
  kind: z.literal('process'),
  tMs: T,
  name: z.string(),
  action: z.enum(['started', 'ended']),
  detail: text,
});

/** A recorded event, as Records numbered it. */
export const EventLine = z.strictObject({
  kind: z.literal('event'),
  seq: z.int().min(1),
  type: z.string(),
  jobId: z.string().nullable(),
  machineId: z.string().nullable(),
  atMs: At,
  data: JsonObject,
});

/** A row of `runs`: one execution as Records know it. */
export const RunLine = z.strictObject({
  kind: z.literal('run'),
  jobId: z.string(),
  run: z.int().min(1),
  token: FencingToken,
  machineId: z.string(),
  outcome: z.string(),
  counted: z.boolean(),
});

/** A file that a run has left in the object store: work that was really done, committed or not. */
export const EffectLine = z.strictObject({
  kind: z.literal('effect'),
  jobId: z.string(),
  token: FencingToken,
  name: z.string(),
  bytes: z.int().min(0),
  atMs: At,
});

/** A job at the end: as the row in Records says and as the API of a hub answers. */
export const JobLine = z.strictObject({
  kind: z.literal('job'),
  jobId: z.string(),
  state: JobState,
  /** What a hub answered for the same id; null where it knew none. */
  apiState: JobState.nullable(),
  attempts: z.int().min(0),
  runs: z.int().min(0),
  token: FencingToken.nullable(),
  fenceFloor: FencingToken,
  /** Object keys of the committed result; null without a result. */
  outputs: z.array(z.string()).nullable(),
  reason: z.string().nullable(),
});

/** A look at both stores when every job had ended: what was left in the Broker, and where they disagree. */
export const RestLine = z.strictObject({
  kind: z.literal('rest'),
  tMs: T,
  atMs: At,
  /** In words; empty: the stores were at rest. */
  left: z.array(text).max(100),
  /** From the end of the last job until nothing was left, or until that was waited for no longer. */
  waitedMs: z.int().min(0),
});

/** The last line: a history without it was cut and is not checked. */
export const EndLine = z.strictObject({
  kind: z.literal('end'),
  tMs: T,
  atMs: At,
  /** `settled`: every known job had ended before the limit; else `timeout` or `failed` with the reason. */
  outcome: z.enum(['settled', 'timeout', 'failed']),
  detail: text,
  /** Lines before this one. */
  lines: z.int().min(1),
  /** Of the lines before this one as they lie in the file, line ends included, in hex: `digestOf`. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

export const HistoryLine = z.discriminatedUnion('kind', [
  MetaLine,
  OpLine,
  NemesisLine,
  ProcessLine,
  EventLine,
  RunLine,
  EffectLine,
  JobLine,
  RestLine,
  EndLine,
]);
export type HistoryLine = z.infer<typeof HistoryLine>;
export type MetaLine = z.infer<typeof MetaLine>;
export type OpLine = z.infer<typeof OpLine>;
export type NemesisLine = z.infer<typeof NemesisLine>;
export type EventLine = z.infer<typeof EventLine>;
export type RunLine = z.infer<typeof RunLine>;
export type EffectLine = z.infer<typeof EffectLine>;
export type RestLine = z.infer<typeof RestLine>;
export type JobLine = z.infer<typeof JobLine>;
export type EndLine = z.infer<typeof EndLine>;

/** Lines that a file may have; a run of 100 000 jobs stays below it. */
const linesLimit = 5_000_000;
/** Lines gathered before they are written: a history of a run that dies lacks no more than these. */
const gatherLimit = 200;

/** Writes a history. The file is made anew; each line is checked, so that what is published can be read. */
export class HistoryFile {
  readonly path: string;
  #gathered: string[] = [];
  #lines = 0;
  readonly #digest = createHash('sha256');

  constructor(path: string) {
    this.path = path;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
  }

  get lines(): number {
    return this.#lines;
  }

  add(line: HistoryLine): void {
    const text = `${JSON.stringify(HistoryLine.parse(line))}\n`;
    this.#gathered.push(text);
    this.#digest.update(text);
    this.#lines += 1;
    if (this.#gathered.length >= gatherLimit) this.flush();
  }

  flush(): void {
    if (this.#gathered.length === 0) return;
    appendFileSync(this.path, this.#gathered.join(''));
    this.#gathered = [];
  }

  end(line: Omit<EndLine, 'kind' | 'lines' | 'sha256'>): void {
    this.add({ kind: 'end', ...line, lines: this.#lines, sha256: this.#digest.copy().digest('hex') });
    this.flush();
  }
}

/** Digest of lines without their ends, as the last line of a file carries it of those before it. */
export function digestOf(rows: readonly string[]): string {
  const digest = createHash('sha256');
  for (const row of rows) digest.update(`${row}\n`);
  return digest.digest('hex');
}

/** Why a history cannot be read at all, by the system's code. */
const unreadable: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EISDIR: 'is a folder: name the history.jsonl in it',
};

/**
 * Reads a history as a whole. Throws `VALIDATION_FAILED` naming line and field where it is none, where
 * it was cut, where its lines were taken out, or where they are not those that its digest is of; with
 * `fields.missing` where there is no such file.
 */
export function readHistory(path: string): HistoryLine[] {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new EmpError('VALIDATION_FAILED', {
      detail: `${path} ${unreadable[code] ?? `cannot be read: ${message}`}`,
      fields: { missing: code === 'ENOENT' },
      cause: error,
    });
  }
  return parseHistory(content);
}

/** As `readHistory`, from the text itself. */
export function parseHistory(content: string): HistoryLine[] {
  const rows = content.split('\n').filter((row) => row !== '');
  if (rows.length > linesLimit) throw refused('/', `has more than ${linesLimit} lines`);
  const lines = rows.map((row, index) => parseLine(row, index + 1));
  const [first] = lines;
  const last = lines.at(-1);
  if (first?.kind !== 'meta') throw refused('/1', 'is not a meta line: this is no history of emp chaos');
  if (last?.kind !== 'end') throw refused(`/${lines.length}`, 'is not an end line: the history was cut');
  if (last.lines !== lines.length - 1)
    throw refused(
      `/${lines.length}/lines`,
      `says ${last.lines} lines before it, there are ${lines.length - 1}`,
    );
  checkDigest(first, last, rows);
  return lines;
}

/** The order of lines places calls between the lives of a job: lines that changed places are another history. */
function checkDigest({ format }: MetaLine, { sha256, lines }: EndLine, rows: readonly string[]): void {
  const pointer = `/${lines + 1}/sha256`;
  if (sha256 === undefined) {
    if (format >= digestFormat)
      throw refused(pointer, `is missing: a history of format ${format} carries a digest of its lines`);
    return;
  }
  if (digestOf(rows.slice(0, -1)) !== sha256)
    throw refused(pointer, 'is not the digest of the lines before it: some were changed or moved');
}

function parseLine(row: string, number: number): HistoryLine {
  let value: unknown;
  try {
    value = JSON.parse(row);
  } catch (error) {
    throw refused(`/${number}`, `is not JSON: ${(error as Error).message}`);
  }
  const parsed = HistoryLine.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw refused(`/${[number, ...(issue?.path ?? [])].map(String).join('/')}`, issue?.message ?? 'is no line');
}

function refused(pointer: string, detail: string): EmpError {
  return new EmpError('VALIDATION_FAILED', {
    detail: `the history cannot be used: line ${pointer.slice(1)} ${detail}`,
    errors: [{ pointer, detail }],
  });
}
