import type { Redis } from 'ioredis';
import {
  functionName,
  libraryName,
  libraryRevision,
  libraryText,
  type StepName,
  scriptText,
  stepNames,
} from './scripts.ts';

/** How steps reach the server: as functions of a library, or as scripts by their hash. */
export type LoaderKind = 'function' | 'evalsha';

type Arguments = readonly (string | number | Buffer)[];

/**
 * Runs steps and puts their text on the server where it is missing: after a restart without
 * persistence, a failover, FUNCTION FLUSH or SCRIPT FLUSH, also between two calls. A missing text is
 * known before anything ran, so the call is simply made again.
 */
export class Loader {
  readonly #redis: Redis;
  readonly #wanted: LoaderKind | 'auto';
  readonly #scripts: ReadonlyMap<StepName, { text: string; sha: string }>;
  #kind: LoaderKind;
  #loading: Promise<void> | null = null;

  constructor(redis: Redis, wanted: LoaderKind | 'auto') {
    this.#redis = redis;
    this.#wanted = wanted;
    this.#kind = wanted === 'evalsha' ? 'evalsha' : 'function';
    this.#scripts = new Map(stepNames.map((step) => [step, scriptText(step)]));
  }

  get kind(): LoaderKind {
    return this.#kind;
  }

  /** Loads what is missing. Many callers at once share one load. */
  ensure(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async run(step: StepName, key: string, args: Arguments): Promise<unknown> {
    try {
      return await this.#send(step, key, args);
    } catch (error) {
      if (!isTextMissing(error)) throw error;
      await this.ensure();
      return await this.#send(step, key, args);
    }
  }

  #send(step: StepName, key: string, args: Arguments): Promise<unknown> {
    if (this.#kind === 'function') return this.#redis.call('FCALL', functionName(step), 1, key, ...args);
    const sha = this.#scripts.get(step)?.sha ?? '';
    return this.#redis.call('EVALSHA', sha, 1, key, ...args);
  }

  async #load(): Promise<void> {
    if (this.#wanted !== 'evalsha') {
      try {
        await this.#loadLibrary();
        this.#kind = 'function';
        return;
      } catch (error) {
        // A full server takes no library, a hosted one may know none: scripts work on both.
        if (this.#wanted === 'function' || !(isFunctionsRefused(error) || isFull(error))) throw error;
      }
    }
    await Promise.all(
      [...this.#scripts.values()].map(({ text }) => this.#redis.call('SCRIPT', 'LOAD', text)),
    );
    this.#kind = 'evalsha';
  }

  /** A newer revision stays: within a major it serves older callers. */
  async #loadLibrary(): Promise<void> {
    const present = await this.#presentRevision();
    if (present > libraryRevision) return;
    if (present === libraryRevision && (await this.#isPresent())) return;
    await this.#redis.call('FUNCTION', 'LOAD', 'REPLACE', libraryText());
  }

  /** 0 if no library of this major is there. */
  async #presentRevision(): Promise<number> {
    try {
      return Number(await this.#redis.call('FCALL', `${libraryName}_revision`, 0));
    } catch (error) {
      if (isTextMissing(error)) return 0;
      throw error;
    }
  }

  /** Whether the library on the server is of the same text: two builds of one revision differ in development. */
  async #isPresent(): Promise<boolean> {
    const reply = await this.#redis.call('FUNCTION', 'LIST', 'LIBRARYNAME', libraryName, 'WITHCODE');
    return flatten(reply).includes(libraryText());
  }
}

function flatten(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply.flatMap(flatten) : [reply];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isTextMissing(error: unknown): boolean {
  return /Function not found|^NOSCRIPT/.test(messageOf(error));
}

/** The server knows no functions, or this user may not load them. */
function isFunctionsRefused(error: unknown): boolean {
  return /unknown command|unsupported command|command .* not supported|^NOPERM/i.test(messageOf(error));
}

function isFull(error: unknown): boolean {
  return /^OOM/.test(messageOf(error));
}
