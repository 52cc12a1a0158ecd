import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ContractHub } from './contract-hub.ts';
import { clearDevHub, findDevHub, stateDir, writeDevHub } from './state-file.ts';

let hub: ContractHub;
let root: string;
let env: NodeJS.ProcessEnv;
beforeEach(async () => {
  hub = await ContractHub.start();
  root = await mkdtemp(join(tmpdir(), 'emp-state-'));
  env = { EMP_STATE_DIR: join(root, 'state') };
});
afterEach(async () => {
  await hub.stop();
  await rm(root, { recursive: true, force: true });
});

test('a running hub is found, and only its user may read or write the file', async () => {
  expect(await writeDevHub(env, { url: hub.url, pid: process.pid })).toBe(true);
  expect(await findDevHub(env)).toBe(hub.url);
  expect((await stat(stateDir(env))).mode & 0o777).toBe(0o700);
  expect((await stat(join(stateDir(env), `dev-${process.pid}.json`))).mode & 0o777).toBe(0o600);
});

test('without a file there is none', async () => expect(await findDevHub(env)).toBeNull());

test('the file of a dead process counts as none', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  await writeDevHub(env, { url: hub.url, pid });
  expect(await findDevHub(env)).toBeNull();
});

test('a live process whose hub does not listen counts as none', async () => {
  await writeDevHub(env, { url: hub.url, pid: process.pid });
  await hub.stop();
  expect(await findDevHub(env)).toBeNull();
  hub = await ContractHub.start();
});

test.each([
  ['half a file', '{"url":"http'],
  ['another form', '[]'],
  ['null', 'null'],
  ['an address elsewhere', `{"url":"http://example.com","pid":${process.pid},"order":1}`],
  ['no address', `{"url":"nowhere","pid":${process.pid},"order":1}`],
])('%s counts as none', async (_name, text) => {
  await mkdir(stateDir(env), { mode: 0o700 });
  await writeFile(join(stateDir(env), `dev-${process.pid}.json`), text);
  expect(await findDevHub(env)).toBeNull();
});

test('a folder that others can write is neither believed nor written to', async () => {
  await writeDevHub(env, { url: hub.url, pid: process.pid });
  await chmod(stateDir(env), 0o777);
  expect(await findDevHub(env)).toBeNull();
  expect(await writeDevHub(env, { url: hub.url, pid: process.pid })).toBe(false);
});

describe('of two that run', () => {
  let newer: ContractHub;
  /** Two processes that live as long as the test does. */
  const pids = { older: process.ppid, newer: process.pid };
  beforeEach(async () => {
    newer = await ContractHub.start();
    await writeDevHub(env, { url: hub.url, pid: pids.older });
    await writeDevHub(env, { url: newer.url, pid: pids.newer });
  });
  afterEach(() => newer.stop());

  test('the newer one is found, also when the older one has ended', async () => {
    expect(await findDevHub(env)).toBe(newer.url);
    await clearDevHub(env, pids.older);
    expect(await findDevHub(env)).toBe(newer.url);
    await clearDevHub(env, pids.newer);
    expect(await readdir(stateDir(env))).toEqual([]);
  });

  test('the older one is found again when the newer one has ended', async () => {
    await clearDevHub(env, pids.newer);
    expect(await findDevHub(env)).toBe(hub.url);
  });

  test('the older one is found where the newer one does not listen', async () => {
    await newer.stop();
    expect(await findDevHub(env)).toBe(hub.url);
    newer = await ContractHub.start();
  });
});

test('the file of a killed one goes when the next one begins', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  await writeDevHub(env, { url: hub.url, pid });
  await writeDevHub(env, { url: hub.url, pid: process.pid });
  expect(await readdir(stateDir(env))).toEqual([`dev-${process.pid}.json`]);
});
