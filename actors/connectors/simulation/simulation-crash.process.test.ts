import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('a crash that is switched on kills the process at once', () => {
  const script = `
    import { simulationConnector } from ${JSON.stringify(new URL('./simulation-connector.ts', import.meta.url).href)};
    import { simEnv } from ${JSON.stringify(new URL('../../../simulations/sim-env.ts', import.meta.url).href)};
    const signal = new AbortController().signal;
    const connector = simulationConnector({ allowCrash: true })({ env: simEnv({ seed: 1 }), workDir: '.' });
    await connector.start(signal);
    const payload = { failWith: 'crash' };
    await connector.run({ jobId: 'job_1', token: '1', payload, inputs: [], models: [], outDir: '.', signal, progress() {} });
  `;
  const ended = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
  expect({ signal: ended.signal, stderr: ended.stderr }).toEqual({ signal: 'SIGKILL', stderr: '' });
});
