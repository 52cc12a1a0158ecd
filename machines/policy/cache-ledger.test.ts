import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CacheCommand,
  emptyLedger,
  evicted,
  evictFailed,
  fetched,
  fetchFailed,
  found,
  type Ledger,
  limited,
  progressed,
  release,
  residentModels,
  type Step,
  sized,
  usedBytes,
  want,
} from './cache-ledger.ts';

const error = { code: 'MODEL_UNAVAILABLE', message: 'nobody has it', retryable: true } as const;

/** Takes steps and keeps the commands. */
class Cache {
  ledger: Ledger;
  commands: CacheCommand[] = [];

  constructor(limitBytes: number, resident: Record<string, number> = {}) {
    this.ledger = Object.entries(resident).reduce(
      (ledger, [modelId, bytes]) => found(ledger, { modelId, bytes }),
      emptyLedger(limitBytes),
    );
  }

  step(step: (ledger: Ledger) => Step): CacheCommand[] {
    const { ledger, commands } = step(this.ledger);
    this.ledger = ledger;
    this.commands.push(...commands);
    return commands;
  }

  want = (run: string, ...models: string[]) => this.step((ledger) => want(ledger, { run, models }));
  release = (run: string) => this.step((ledger) => release(ledger, { run }));
  sized = (modelId: string, bytes: number) => this.step((ledger) => sized(ledger, { modelId, bytes }));
  fetched = (modelId: string, bytes: number) => this.step((ledger) => fetched(ledger, { modelId, bytes }));
  evicted = (modelId: string) => this.step((ledger) => evicted(ledger, { modelId }));
}

describe('cache ledger', () => {
  test('a missing model is fetched once however many want it, and all are told', () => {
    const cache = new Cache(100);
    expect(cache.want('r1', 'm')).toEqual([{ kind: 'fetch', modelId: 'm' }]);
    expect(cache.want('r2', 'm')).toEqual([]);
    expect(cache.sized('m', 60)).toEqual([{ kind: 'go', modelId: 'm' }]);
    expect(cache.fetched('m', 60)).toEqual([
      { kind: 'ready', run: 'r1', models: ['m'] },
      { kind: 'ready', run: 'r2', models: ['m'] },
    ]);
  });

  test('a resident model is ready at once', () => {
    expect(new Cache(100, { m: 10 }).want('r1', 'm')).toEqual([{ kind: 'ready', run: 'r1', models: ['m'] }]);
  });

  test('a model in use is never evicted; the fetch waits for its release', () => {
    const cache = new Cache(100, { old: 80 });
    cache.want('r1', 'old');
    cache.want('r2', 'new');
    expect(cache.sized('new', 50)).toEqual([]);
    expect(cache.release('r1')).toEqual([{ kind: 'evict', modelId: 'old' }]);
    expect(cache.evicted('old')).toEqual([{ kind: 'go', modelId: 'new' }]);
  });

  test('room is counted only when the bytes have left the disk', () => {
    const cache = new Cache(100, { old: 80 });
    cache.want('r2', 'new');
    expect(cache.sized('new', 50)).toEqual([{ kind: 'evict', modelId: 'old' }]);
    expect(usedBytes(cache.ledger)).toBe(80);
    // While it waits, nothing is evicted a second time.
    cache.want('r3', 'other');
    expect(cache.sized('other', 40)).toEqual([]);
    expect(cache.evicted('old')).toEqual([
      { kind: 'go', modelId: 'new' },
      { kind: 'go', modelId: 'other' },
    ]);
  });

  test('a model larger than the whole cache is refused by name', () => {
    const cache = new Cache(100, { old: 80 });
    cache.want('r1', 'huge');
    expect(cache.sized('huge', 101)).toMatchObject([
      {
        kind: 'refuse',
        modelId: 'huge',
        error: { code: 'DISK_FULL', message: expect.stringContaining('huge') },
      },
    ]);
    expect(cache.ledger.entries['old']?.state).toBe('resident');
  });

  test('two runs that wait for each other’s room do not wait for ever: the later is refused', () => {
    const cache = new Cache(100, { a: 50, b: 50 });
    cache.want('r1', 'a', 'c');
    cache.want('r2', 'b', 'd');
    expect(cache.sized('c', 50)).toEqual([]);
    expect(cache.sized('d', 50)).toMatchObject([{ kind: 'refuse', modelId: 'd' }]);
    const after = cache.step((ledger) => fetchFailed(ledger, { modelId: 'd', error }));
    expect(after).toContainEqual({ kind: 'failed', run: 'r2', error });
    expect(after).toContainEqual({ kind: 'evict', modelId: 'b' });
  });

  test('a failed fetch fails those who wait for it, and gives their other pins back', () => {
    const cache = new Cache(100, { a: 50 });
    cache.want('r1', 'a', 'b');
    cache.sized('b', 10);
    expect(cache.step((ledger) => fetchFailed(ledger, { modelId: 'b', error }))).toEqual([
      { kind: 'failed', run: 'r1', error },
    ]);
    expect(cache.ledger.entries['a']?.pins).toEqual([]);
    expect(usedBytes(cache.ledger)).toBe(50);
  });

  test('a model that is wanted again while it is evicted is fetched anew', () => {
    const cache = new Cache(100, { old: 80 });
    cache.want('r1', 'new');
    cache.sized('new', 50);
    expect(cache.want('r2', 'old')).toEqual([]);
    expect(cache.evicted('old')).toContainEqual({ kind: 'fetch', modelId: 'old' });
  });

  test('a model that cannot be removed stays, and another is chosen', () => {
    const cache = new Cache(100, { a: 50, b: 50 });
    cache.want('r1', 'new');
    const [first] = cache.sized('new', 40);
    const victim = (first as { modelId: string }).modelId;
    const [second] = cache.step((ledger) => evictFailed(ledger, { modelId: victim }));
    expect(second).toMatchObject({ kind: 'evict' });
    expect((second as { modelId: string }).modelId).not.toBe(victim);
  });

  test('the least used goes first, and a long unused favourite goes in the end', () => {
    const cache = new Cache(100, { hot: 40, cold: 40 });
    for (let use = 0; use < 3; use++) {
      cache.want('r', 'hot');
      cache.release('r');
    }
    cache.want('r1', 'n1');
    expect(cache.sized('n1', 40)).toEqual([{ kind: 'evict', modelId: 'cold' }]);
    let gone: string | null = null;
    cache.evicted('cold');
    cache.fetched('n1', 40);
    cache.release('r1');
    for (let round = 2; gone !== 'hot' && round < 200; round++) {
      const modelId = `n${round}`;
      cache.want(`r${round}`, modelId);
      const [command] = cache.sized(modelId, 40);
      gone = command?.kind === 'evict' ? command.modelId : null;
      if (gone !== null) cache.evicted(gone);
      cache.fetched(modelId, 40);
      cache.release(`r${round}`);
    }
    expect(gone).toBe('hot');
  });

  test('progress is told in tenths and never backwards', () => {
    const cache = new Cache(100);
    cache.want('r1', 'm');
    const before = cache.ledger.version;
    for (const fraction of [0.04, 0.15, 0.19, 0.12, 0.31])
      cache.step((ledger) => progressed(ledger, { modelId: 'm', fraction }));
    expect(cache.ledger.entries['m']?.fraction).toBe(0.3);
    expect(cache.ledger.version - before).toBe(2);
  });

  test('a disk that shrinks evicts nothing by itself, but grants no more', () => {
    const cache = new Cache(100, { a: 50 });
    cache.step((ledger) => limited(ledger, { limitBytes: 40 }));
    cache.want('r1', 'b');
    expect(cache.sized('b', 30)).toEqual([{ kind: 'evict', modelId: 'a' }]);
  });

  test('warm models are named most used first', () => {
    const cache = new Cache(100, { a: 10, b: 10 });
    cache.want('r', 'b');
    expect(residentModels(cache.ledger)).toEqual(['b', 'a']);
  });

  test('whatever happens in whatever order, the budget holds and no pinned model goes', () => {
    const model = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const run = fc.constantFrom('r1', 'r2', 'r3', 'r4');
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('want' as const),
        run,
        models: fc.uniqueArray(model, { minLength: 1, maxLength: 3 }),
      }),
      fc.record({ kind: fc.constant('release' as const), run }),
      fc.record({ kind: fc.constant('progress' as const), pick: fc.nat() }),
    );
    const bytes: Record<string, number> = { a: 10, b: 20, c: 30, d: 45, e: 60 };
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 60 }),
        fc.integer({ min: 40, max: 120 }),
        (actions, limitBytes) => {
          const cache = new Cache(limitBytes);
          /** What the machine is doing: the test is its disk and network. */
          const open: CacheCommand[] = [];
          const waiting = new Map<string, string[]>();
          const take = (commands: CacheCommand[]) => {
            for (const command of commands) {
              if (command.kind === 'evict') expect(cache.ledger.entries[command.modelId]?.pins).toEqual([]);
              if (command.kind === 'ready' || command.kind === 'failed') waiting.delete(command.run);
              if (command.kind !== 'ready' && command.kind !== 'failed') open.push(command);
            }
            expect(usedBytes(cache.ledger)).toBeLessThanOrEqual(limitBytes);
          };
          const go = (index: number) => {
            const [command] = open.splice(index, 1);
            if (command?.kind === 'fetch')
              take(cache.sized(command.modelId, bytes[command.modelId] as number));
            if (command?.kind === 'go')
              take(cache.fetched(command.modelId, bytes[command.modelId] as number));
            if (command?.kind === 'refuse')
              take(
                cache.step((ledger) =>
                  fetchFailed(ledger, { modelId: command.modelId, error: command.error }),
                ),
              );
            if (command?.kind === 'evict') take(cache.evicted(command.modelId));
          };
          for (const item of actions) {
            if (item.kind === 'want') {
              waiting.set(item.run, item.models);
              take(cache.release(item.run));
              take(cache.want(item.run, ...item.models));
            } else if (item.kind === 'release') {
              waiting.delete(item.run);
              take(cache.release(item.run));
            } else if (open.length > 0) go(item.pick % open.length);
          }
          // Runs end one after the other: in the end everybody has an answer.
          for (let turn = 0; turn < 500 && (open.length > 0 || waiting.size > 0); turn++) {
            if (open.length > 0) go(0);
            else {
              const holder = Object.values(cache.ledger.entries)
                .flatMap((entry) => entry.pins)
                .find((pin) => !waiting.has(pin));
              if (holder === undefined) break;
              take(cache.release(holder));
            }
          }
          expect([...waiting.keys()]).toEqual([]);
        },
      ),
      { numRuns: 500, seed: 42 },
    );
  });
});
