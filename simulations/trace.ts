import { createHash } from 'node:crypto';
import type { Clock } from '#protocol/env.ts';
import type { Observation } from './observation.ts';

export interface TraceLine {
  atMs: number;
  text: string;
  jobId: string | null;
}

const jobIdOf = (value: unknown): string | null => {
  if (typeof value !== 'object' || value === null) return null;
  const { jobId, lease } = value as { jobId?: unknown; lease?: { jobId?: unknown } };
  const found = jobId ?? lease?.jobId;
  return typeof found === 'string' ? found : null;
};

const kindOf = (answer: unknown): string => {
  const kind = (answer as { kind?: unknown } | null | undefined)?.kind;
  return typeof kind === 'string' ? kind : '';
};

/**
 * What happened in a run, in order: a hash over everything, and the last lines for people. Two runs of
 * one seed must give one hash; where they do not, something asked the real clock or real chance.
 */
export class Trace {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #hash = createHash('sha256');
  readonly #lines: TraceLine[] = [];
  #count = 0;

  constructor(options: { clock: Clock; limit?: number }) {
    this.#clock = options.clock;
    this.#limit = options.limit ?? 50_000;
  }

  get count(): number {
    return this.#count;
  }

  note(text: string, jobId: string | null = null): void {
    const atMs = this.#clock.monotonic();
    this.#hash.update(`${atMs} ${text} ${jobId ?? ''}\n`);
    this.#lines[this.#count % this.#limit] = { atMs, text, jobId };
    this.#count++;
  }

  observe(seen: Observation): void {
    if (seen.kind === 'broker' || seen.kind === 'records') {
      const jobId = jobIdOf(seen.args[0]) ?? jobIdOf(seen.answer);
      const token = (seen.args[0] as { token?: unknown } | undefined)?.token;
      const detail = typeof token === 'string' ? ` token ${token}` : '';
      return this.note(
        `${seen.process} ${seen.kind}.${seen.method}${detail} -> ${kindOf(seen.answer)}`,
        jobId,
      );
    }
    if (seen.kind === 'accepted') return this.note('client accepted', seen.jobId);
    if (seen.kind === 'asked') return this.note(`client asks ${seen.run}`, seen.jobId);
    if (seen.kind === 'answered')
      return this.note(`client is answered: ${seen.refusal?.code ?? 'accepted'}`, seen.jobId);
    if (seen.kind === 'gaveUp') return this.note('client gave up', seen.jobId);
    if (seen.kind === 'brokerLost') return this.note('broker lost');
    if (seen.kind === 'healed') return this.note('healed');
    if (seen.kind === 'noted') return this.note(seen.what);
    if (seen.kind === 'evicted') return this.note(`${seen.process} evicts ${seen.modelId}`);
    if (seen.kind === 'service')
      return this.note(`${seen.process} service ${seen.change} token ${seen.token}`, seen.jobId);
    this.note(`${seen.machine} ${seen.direction} ${seen.text}`);
  }

  /** SHA-256 of all that was noted so far, hex. */
  hash(): string {
    return this.#hash.copy().digest('hex');
  }

  /**
   * The last lines that speak of this job, oldest first; of anything but frames if null. Beats are left
   * out: they say the same every five seconds.
   */
  tail(jobId: string | null, limit: number): string {
    const split = this.#count > this.#limit ? this.#count % this.#limit : 0;
    const ordered = [...this.#lines.slice(split), ...this.#lines.slice(0, split)];
    const wanted = (line: TraceLine) => {
      const isFrame = line.text.includes(' up {') || line.text.includes(' down {');
      if (isFrame && (jobId === null || line.text.includes('"type":"beat"'))) return false;
      return (
        jobId === null ||
        line.jobId === jobId ||
        line.text.includes(`"${jobId}"`) ||
        line.text.startsWith('fault')
      );
    };
    return ordered
      .filter(wanted)
      .slice(-limit)
      .map(
        (line) =>
          `${(line.atMs / 1000).toFixed(3).padStart(9)} s  ${line.text.slice(0, 300)}${jobId === null && line.jobId ? ` ${line.jobId}` : ''}`,
      )
      .join('\n');
  }
}
