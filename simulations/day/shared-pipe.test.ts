import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { SharedPipe } from './shared-pipe.ts';

const { signal } = new AbortController();

/** Runs the clock to its end; answers when each transfer arrived, ms. */
async function arrivals(
  clock: VirtualClock,
  transfers: readonly { atMs: number; send: () => Promise<void> }[],
): Promise<number[]> {
  const ended = transfers.map(() => Number.NaN);
  for (const [index, { atMs, send }] of transfers.entries()) {
    clock.setTimeout(() => {
      void send().then(() => {
        ended[index] = clock.monotonic();
      });
    }, atMs);
  }
  while (clock.step()) await clock.settle();
  return ended;
}

function pipe(totalBytesPerMs: number | null = null) {
  const clock = new VirtualClock();
  return { clock, pipe: new SharedPipe({ clock, totalBytesPerMs }) };
}

test('one transfer has its link to itself, two share it in equal parts', async () => {
  const { clock, pipe: shared } = pipe();
  const link = shared.link(10);
  const ended = await arrivals(clock, [
    { atMs: 0, send: () => link.transfer(1_000, signal) },
    { atMs: 50, send: () => link.transfer(200, signal) },
  ]);
  // 500 bytes alone until 50 ms, then 5 a ms each: the second needs 40 ms, the first has 300 left.
  expect(ended.map(Math.round)).toEqual([120, 90]);
});

test('links do not slow each other down while the store has no bound, and share its bound', async () => {
  const both = (shared: SharedPipe) => [
    { atMs: 0, send: () => shared.link(10).transfer(1_000, signal) },
    { atMs: 0, send: () => shared.link(10).transfer(1_000, signal) },
  ];
  const free = pipe();
  expect((await arrivals(free.clock, both(free.pipe))).map(Math.round)).toEqual([100, 100]);
  const bound = pipe(10);
  expect((await arrivals(bound.clock, both(bound.pipe))).map(Math.round)).toEqual([200, 200]);
});

test('a transfer that is given up rejects with the reason and leaves its share to the others', async () => {
  const { clock, pipe: shared } = pipe();
  const link = shared.link(10);
  const abort = new AbortController();
  const refused: unknown[] = [];
  clock.setTimeout(() => abort.abort('given up'), 50);
  const [, ended] = await arrivals(clock, [
    {
      atMs: 0,
      send: () =>
        link.transfer(10_000, abort.signal).catch((reason: unknown) => {
          refused.push(reason, clock.monotonic());
        }),
    },
    { atMs: 0, send: () => link.transfer(1_000, signal) },
  ]);
  expect(refused).toEqual(['given up', 50]);
  expect(Math.round(ended ?? 0)).toBe(125);
});

test('a signal that has aborted already sends nothing, and a link must carry something', async () => {
  const { pipe: shared } = pipe();
  await expect(shared.link(1).transfer(5, AbortSignal.abort('over'))).rejects.toBe('over');
  expect(() => shared.link(0)).toThrow(RangeError);
});

test('nothing arrives sooner than its link and the store allow, and the store is never idle for nothing', async () => {
  const flows = fc.array(
    fc.record({ atMs: fc.nat(500), bytes: fc.integer({ min: 1, max: 5_000 }), link: fc.nat(2) }),
    { minLength: 1, maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(flows, fc.integer({ min: 1, max: 30 }), async (drawn, total) => {
      const { clock, pipe: shared } = pipe(total);
      const links = [5, 10, 20].map((rate) => shared.link(rate));
      const ended = await arrivals(
        clock,
        drawn.map(({ atMs, bytes, link }) => ({
          atMs,
          send: () => links[link]?.transfer(bytes, signal) ?? Promise.reject(new Error('no link')),
        })),
      );
      for (const [index, { atMs, bytes, link }] of drawn.entries()) {
        const leastMs = bytes / Math.min(links[link]?.bytesPerMs ?? 0, total);
        expect((ended[index] ?? 0) - atMs).toBeGreaterThanOrEqual(leastMs - 1e-3);
      }
      const bytes = drawn.reduce((sum, flow) => sum + flow.bytes, 0);
      const lastMs = Math.max(...ended);
      expect(lastMs).toBeGreaterThanOrEqual(bytes / total - 1e-3);
      // All of them one after the other over the slowest link is the longest it can take.
      expect(lastMs).toBeLessThanOrEqual(500 + bytes / Math.min(5, total / drawn.length) + 1);
    }),
    { numRuns: 200 },
  );
});
