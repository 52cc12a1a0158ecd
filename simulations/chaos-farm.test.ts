import { expect, test } from 'vitest';
import { runFarm } from './chaos-farm.ts';
import { drawScript } from './chaos-script.ts';

// A rejection that nobody hears would end the run of the tests.
test('an interrupt rejects the farm with its reason', async () => {
  const scripts = [1, 2, 3].map((seed) =>
    drawScript({ seed, machineKind: 'model', machines: 2, hubs: 1, jobs: 3 }),
  );
  const stop = new AbortController();
  const farm = runFarm({
    scripts,
    stores: { broker: 'memory', records: 'sqlite' },
    workers: 1,
    shrink: false,
    signal: stop.signal,
  });
  stop.abort(new Error('interrupted'));
  await expect(farm).rejects.toThrow('interrupted');
});
