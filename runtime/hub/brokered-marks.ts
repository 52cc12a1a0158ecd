import type { JobId } from '#protocol/names.ts';
import type { Records } from '#protocol/records.ts';
import type { FencingToken } from '#protocol/token.ts';

interface Mark {
  jobId: JobId;
  /** Floor under which the Broker took the row: a later life of the job is not marked by it. */
  fenceFloor: FencingToken;
}

const batchLimit = 1_000;

const ignore = (): void => undefined;

/**
 * Marks rows that the Broker holds, many in one commit, off the path of the submit that nobody should
 * wait longer for: a lost mark only makes the reconciler drive a row again that is there already.
 */
export class BrokeredMarks {
  readonly #records: Records;
  readonly #nowMs: () => number;
  readonly #background: (work: Promise<void>) => void;
  #waiting: Mark[] = [];
  #writing = false;
  #done: Promise<void> = Promise.resolve();

  constructor(options: { records: Records; nowMs: () => number; background: (work: Promise<void>) => void }) {
    this.#records = options.records;
    this.#nowMs = options.nowMs;
    this.#background = options.background;
  }

  add(marks: readonly Mark[]): void {
    for (const mark of marks) this.#waiting.push(mark);
    if (this.#writing || this.#waiting.length === 0) return;
    this.#writing = true;
    const writing = this.#write();
    // Whether it failed is for the background to tell.
    this.#done = writing.then(ignore, ignore);
    this.#background(writing);
  }

  /** Resolves when every mark that was added before is written, or was given up. */
  async written(): Promise<void> {
    while (this.#writing) await this.#done;
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#records.markBrokered(this.#waiting.splice(0, batchLimit), this.#nowMs());
      }
    } catch (error) {
      // The reconciler finds the rows by their missing marks; new ones are tried afresh.
      this.#waiting = [];
      throw error;
    } finally {
      this.#writing = false;
    }
  }
}
