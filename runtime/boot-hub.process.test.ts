import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const bootPath = fileURLToPath(new URL('./boot-hub.ts', import.meta.url));
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanUps.splice(0).reverse()) await clean();
});

function boot(args: string[], variables: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', bootPath, ...args], {
    env: { ...process.env, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (data) => {
    errors += String(data);
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const firstLine = new Promise<string>((resolve) =>
    child.stdout.once('data', (data) => resolve(String(data))),
  );
  cleanUps.push(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended, firstLine, errors: () => errors };
}

const post = async (url: string, json: unknown) => {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  return answer.status;
};

describe('the hub process', () => {
  test('says where it answers, keeps its jobs over SIGKILL and ends by SIGTERM with 0', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'emp-boot-'));
    cleanUps.push(() => rm(dir, { recursive: true, force: true }));
    const args = ['--listen', '127.0.0.1:0', '--data', dir, '--json'];
    const first = boot(args);
    const ready = JSON.parse(await first.firstLine);
    expect(ready).toMatchObject({ kind: 'hub.ready', durable: true, dataDir: dir, pid: first.child.pid });
    for (let index = 0; index < 20; index++) {
      expect(await post(`${ready.url}/v1/jobs`, { service: 'simulation', id: `j${index}` })).toBe(201);
    }
    first.child.kill('SIGKILL');
    await first.ended;
    const second = boot(args);
    const { url } = JSON.parse(await second.firstLine);
    const counts = (await (await fetch(`${url}/v1/jobs/count`)).json()) as { counts: { waiting: number } };
    expect(counts.counts.waiting).toBe(20);
    second.child.kill('SIGTERM');
    expect(await second.ended).toBe(0);
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });

  test('a configuration that cannot be used ends it with 1 and the reason', async () => {
    const { ended, errors } = boot(['--listen', '0.0.0.0:7700'], { EMP_LEASE_TTL_MS: '1' });
    expect(await ended).toBe(1);
    expect(errors()).toMatch(/CONFIG_INVALID.*EMP_LEASE_TTL_MS/s);
    expect(errors()).toContain('loopback only');
  });

  test('without a data folder it says that nothing survives', async () => {
    const hub = boot(['--listen', '127.0.0.1:0', '--json']);
    expect(JSON.parse(await hub.firstLine)).toMatchObject({ durable: false, dataDir: null });
    hub.child.kill('SIGTERM');
    expect(await hub.ended).toBe(0);
    expect(hub.errors()).toContain('data.temporary');
  });
});
