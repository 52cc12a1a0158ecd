import { createHash } from 'node:crypto';
import type { Disk } from '#protocol/disk.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { type ObjectInfo, type Objects, type SignPut, signedUrlLimitMs } from '#protocol/objects.ts';

interface Stored {
  info: ObjectInfo;
  bytes: Uint8Array;
}

/** What a signed URL allows; the URL itself only names the grant. */
export type Grant =
  | { method: 'GET'; key: string; untilMs: number }
  | { method: 'PUT'; untilMs: number; put: SignPut };

const origin = 'http://objects.sim';

/**
 * An object store in memory with signed URLs that expire by the virtual clock. `SimHttp` serves the
 * URLs; an upload is judged by what was signed, as S3 judges a pre-signed PUT.
 */
export class SimObjects implements Objects {
  readonly #clock: Clock;
  readonly #disk: Disk | null;
  readonly #stored = new Map<string, Stored>();
  readonly #grants = new Map<string, Grant>();

  /** `disk` is where `putFile` reads; without it `putFile` is refused. */
  constructor(options: { clock: Clock; disk?: Disk }) {
    this.#clock = options.clock;
    this.#disk = options.disk ?? null;
  }

  async signGet(options: { key: string; expiresInMs: number }): Promise<string> {
    return this.#sign({ method: 'GET', key: options.key, untilMs: this.#until(options.expiresInMs) });
  }

  async signPut(options: SignPut & { baseUrl: string }): Promise<string> {
    return this.#sign({ method: 'PUT', untilMs: this.#until(options.expiresInMs), put: options });
  }

  async head(key: string): Promise<ObjectInfo | null> {
    return this.#stored.get(key)?.info ?? null;
  }

  async putFile(options: { key: string; path: string; mime: string }): Promise<ObjectInfo> {
    if (!this.#disk)
      throw new EmpError('INTERNAL', { detail: 'this store was given no disk to read files from' });
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#disk.read(options.path, 0)) chunks.push(chunk);
    return this.store({ key: options.key, bytes: Buffer.concat(chunks), mime: options.mime });
  }

  async read(key: string, range?: { start: number; end: number }): Promise<AsyncIterable<Uint8Array>> {
    const stored = this.#stored.get(key);
    if (!stored) throw new EmpError('NOT_FOUND', { detail: `nothing is stored under ${key}` });
    const bytes = range ? stored.bytes.subarray(range.start, range.end + 1) : stored.bytes;
    return (async function* () {
      yield bytes;
    })();
  }

  async delete(key: string): Promise<void> {
    this.#stored.delete(key);
  }

  async list(options: { prefix: string; after: string | null; limit: number }): Promise<ObjectInfo[]> {
    const after = options.after ?? '';
    return [...this.#stored.values()]
      .map((stored) => stored.info)
      .filter((info) => info.key.startsWith(options.prefix) && info.key > after)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, Math.min(options.limit, 1_000));
  }

  async close(): Promise<void> {
    this.#grants.clear();
  }

  /** Puts bytes there directly: seeds of a scenario, and the end of an accepted upload. */
  store(options: { key: string; bytes: Uint8Array; mime: string }): ObjectInfo {
    const known = this.#stored.get(options.key);
    const sha256 = createHash('sha256').update(options.bytes).digest('hex');
    if (known?.info.sha256 === sha256) return known.info;
    const info: ObjectInfo = {
      key: options.key,
      bytes: options.bytes.length,
      sha256,
      mime: options.mime,
      storedAtMs: this.#clock.now(),
    };
    this.#stored.set(options.key, { info, bytes: new Uint8Array(options.bytes) });
    return info;
  }

  /** What the URL allows now, null if it was never signed here or has expired. */
  grant(url: string): Grant | null {
    const grant = this.#grants.get(url);
    return grant && grant.untilMs > this.#clock.now() ? grant : null;
  }

  #until(expiresInMs: number): number {
    if (expiresInMs > signedUrlLimitMs)
      throw new EmpError('INTERNAL', {
        detail: `a signed URL lives at most ${signedUrlLimitMs} ms, asked for ${expiresInMs}`,
      });
    return this.#clock.now() + expiresInMs;
  }

  #sign(grant: Grant): string {
    const url = `${origin}/${this.#grants.size + 1}`;
    this.#grants.set(url, grant);
    return url;
  }
}
