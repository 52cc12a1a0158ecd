import type { JobState } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import { checkHistory, type Verdict } from './checker.ts';
import {
  digestFormat,
  digestOf,
  type HistoryLine,
  historyFormat,
  type MetaLine,
  type OpLine,
  parseHistory,
} from './history.ts';

/** Planted histories: each count is seen above zero once, because a checker that cannot fail is worse than none. */

export const meta: MetaLine = {
  kind: 'meta',
  format: historyFormat,
  fault: 'planted',
  run: 1,
  seed: 1,
  jobs: 1,
  startedAtMs: 0,
  clusterFrom: 1,
  runsBefore: 0,
  afterSeq: 0,
  versions: {},
  settings: {},
};

type Answer = 'ok' | 'fail' | 'info';

/** A history that is made line by line, for tests of the checker. */
export class Planted {
  readonly lines: HistoryLine[] = [meta];
  #meta: MetaLine = meta;
  #seq = 0;
  #call = 0;
  #left: string[] | null = [];
  #asked: Pick<OpLine, 'failWith' | 'maxAttempts'> = { failWith: 'none', maxAttempts: 2 };

  /** What the payloads of later submits ask for; `{}` as histories were that did not tell. */
  asks(asked: Pick<OpLine, 'failWith' | 'maxAttempts'>): this {
    this.#asked = asked;
    return this;
  }

  op(op: 'submit' | 'get' | 'cancel' | 'requeue', jobId: string, type: Answer | null, state?: string): this {
    this.#call += 1;
    const base = { kind: 'op', tMs: this.#call, client: 'c', call: this.#call, op, jobId } as const;
    this.lines.push({ ...base, type: 'invoke', ...(op === 'submit' ? { outputs: 1, ...this.#asked } : {}) });
    if (type !== null) this.lines.push({ ...base, type, ...(state === undefined ? {} : { state }) });
    return this;
  }

  /** A submit of the run before that nobody knows the end of. */
  earlier(jobId: string): this {
    const base = { kind: 'op', tMs: 0, client: 'earlier', call: 1, op: 'submit', type: 'invoke' } as const;
    this.lines.push({ ...base, jobId, outputs: 0 });
    return this;
  }

  event(type: string, jobId: string, token: string | null = null, extra: JsonObject = {}): this {
    this.#seq += 1;
    const data = { ...(token === null ? {} : { token }), ...extra };
    this.lines.push({
      kind: 'event',
      seq: this.#seq,
      type,
      jobId,
      machineId: null,
      atMs: this.#seq * 10,
      data,
    });
    return this;
  }

  run(jobId: string, token: string, outcome: string, run = 1, counted = false): this {
    this.lines.push({ kind: 'run', jobId, run, token, machineId: 'm', outcome, counted });
    return this;
  }

  effect(jobId: string, token: string): this {
    this.lines.push({ kind: 'effect', jobId, token, name: 'output-0.bin', bytes: 1, atMs: 0 });
    return this;
  }

  job(jobId: string, state: JobState, token: string | null, attempts = 0): this {
    const outputs =
      state === 'succeeded' && token !== null ? [`results/${jobId}/${token}/output-0.bin`] : null;
    this.lines.push({
      kind: 'job',
      jobId,
      state,
      apiState: state,
      attempts,
      runs: 1,
      token,
      fenceFloor: '0',
      outputs,
      reason: null,
    });
    return this;
  }

  /** A job that was accepted and succeeded as it should. */
  good(jobId: string, submit: Answer = 'ok'): this {
    return this.op('submit', jobId, submit)
      .event('job.submitted', jobId)
      .event('job.leased', jobId, '5')
      .event('job.succeeded', jobId, '5')
      .run(jobId, '5', 'succeeded')
      .effect(jobId, '5')
      .job(jobId, 'succeeded', '5');
  }

  nemesis(action: 'inject' | 'heal', atMs: number): this {
    this.lines.push({ kind: 'nemesis', tMs: 0, atMs, action, number: 1, detail: 'x' });
    return this;
  }

  /** What the look at the stores found at its end; null: nobody looked. Nothing was left unless this says otherwise. */
  rests(left: string[] | null): this {
    this.#left = left;
    return this;
  }

  /** Changes its first line; later events have the numbers after `afterSeq`. */
  begin(first: Partial<MetaLine>): this {
    this.#meta = { ...this.#meta, ...first };
    this.lines[0] = this.#meta;
    this.#seq = first.afterSeq ?? this.#seq;
    return this;
  }

  /** As a file would hold it. */
  text(outcome: 'settled' | 'timeout' | 'failed' = 'settled'): string {
    const detail = outcome === 'settled' ? '' : 'a reason';
    const rest = { kind: 'rest', tMs: 8, atMs: 8, left: this.#left ?? [], waitedMs: 1 } as const;
    const lines = this.#left === null || outcome !== 'settled' ? this.lines : [...this.lines, rest];
    const rows = lines.map((line) => JSON.stringify(line));
    const seal = this.#meta.format < digestFormat ? {} : { sha256: digestOf(rows) };
    const end = { kind: 'end', tMs: 9, atMs: 9, outcome, detail, lines: rows.length, ...seal } as const;
    return [...rows, JSON.stringify(end)].join('\n');
  }

  /** Through text, as a published file would come. */
  check(outcome: 'settled' | 'timeout' | 'failed' = 'settled'): Verdict {
    return checkHistory(parseHistory(this.text(outcome)));
  }
}

export const planted = () => new Planted();

/** Numbers of findings by count. */
export const counts = ({
  lost,
  unexpected,
  duplicated,
  staleWrites,
  contradicted,
  wrongEnds,
  recovered,
  absent,
  ok,
}: Verdict) => ({
  lost: lost.length,
  unexpected: unexpected.length,
  duplicated: duplicated.length,
  staleWrites: staleWrites.length,
  contradicted: contradicted.length,
  wrongEnds: wrongEnds.length,
  recovered,
  absent,
  ok,
});
export const clean = {
  lost: 0,
  unexpected: 0,
  duplicated: 0,
  staleWrites: 0,
  contradicted: 0,
  wrongEnds: 0,
  recovered: 0,
  absent: 0,
  ok: true,
};
export const bad = { ...clean, ok: false };
