import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#runtime/env.ts';
import { repeats } from '#runtime/toolchain/tiers.ts';
import { seededRng } from '#simulations/seeded-rng.ts';
import { openSqliteRecords } from './records.ts';

/** The store under real processes: killed in mid commit, locked, without rights, on a full disk. */

let folder: string;
let path: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'emp-store-process-'));
  path = join(folder, 'records.db');
});
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL');
  rmSync(folder, { recursive: true });
});

const repository = join(import.meta.dirname, '..', '..');
const url = (file: string) => JSON.stringify(pathToFileURL(join(repository, file)).href);
const open = (over = {}) =>
  openSqliteRecords({
    path,
    clock: systemClock,
    rng: seededRng('s'),
    nextTurn: (fn) => void setImmediate(fn),
    ...over,
  });

/** A program with `records` open and `newJob`, `say(text)` at hand; `say` has been written when it returns. */
const program = (body: string) => `
  import { writeSync } from 'node:fs';
  import { openSqliteRecords } from ${url('protocol/sqlite/records.ts')};
  import { systemClock } from ${url('runtime/env.ts')};
  import { seededRng } from ${url('simulations/seeded-rng.ts')};
  const say = (text) => writeSync(1, text + '\\n');
  const newJob = (id) => ({ id, service: 's', pool: 'p', group: 'g', affinity: '-', models: [], priority: 50, customer: 'c', expectedMs: 1,
    maxRunMs: 1000, maxAttempts: 3, payload: { text: 'x'.repeat(300) }, inputs: [], requirements: {}, labels: { k: 'v' },
    traceparent: '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01', notBeforeMs: null, expiresAtMs: null, limited: false, preemptible: false, state: 'waiting', fingerprint: id });
  const options = { path: process.env.STORE, clock: systemClock, rng: seededRng('s'), nextTurn: (fn) => void setImmediate(fn) };
  try {
    const records = await openSqliteRecords(options);
    ${body}
  } catch (error) {
    say('refused ' + error.code + ' ' + error.message);
  }`;

function start(body: string, options: { uid?: number } = {}): ChildProcess {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program(body)], {
    env: { ...process.env, STORE: path, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
  children.push(child);
  return child;
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  if (signal) child.kill(signal);
  await exit;
}

/** Lines that the child says, until it ends or `enough`. */
async function linesOf(
  child: ChildProcess,
  enough: (lines: string[]) => boolean = () => false,
): Promise<string[]> {
  let text = '';
  const whole = () =>
    text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '');
  for await (const chunk of child.stdout!) {
    text += String(chunk);
    if (enough(whole())) break;
  }
  return whole();
}

describe('a hub killed in mid commit', () => {
  test(`everything it had acknowledged is there, whole, ${repeats(process.env)} × 5 times`, {
    timeout: 60_000 * repeats(process.env),
  }, async () => {
    for (let round = 0; round < 5 * repeats(process.env); round++) {
      const child = start(`
        let n = 0;
        const worker = async () => {
          for (;;) {
            const id = 'r${round}-' + n++;
            await records.submitJobs([newJob(id)], 1);
            say('submitted ' + id);
            await records.exitJob({ jobId: id, token: '5', cause: { kind: 'release', reason: 'x' }, holder: { machineId: 'm', incarnation: 1 }, actor: 'm/1', nowMs: 2 });
            await records.completeJob({ jobId: id, token: '9', holder: { machineId: 'm', incarnation: 1 }, result: { outputs: [], data: id }, nowMs: 3 });
            say('completed ' + id);
          }
        };
        await Promise.all(Array.from({ length: 16 }, worker));`);
      const said = await linesOf(child, (lines) => lines.length > 150 + round * 97);
      await ended(child, 'SIGKILL');
      const records = await open();
      for (const line of said) {
        const [what, id] = line.split(' ') as [string, string];
        const job = await records.getJob(id);
        expect(job, line).not.toBeNull();
        if (what === 'completed')
          expect(job).toMatchObject({ state: 'succeeded', result: { data: id }, fenceFloor: '6' });
        const { transitions, runs } = await records.timeline(id);
        expect(transitions.at(-1)?.to).toBe(job?.state);
        expect(runs).toHaveLength(job?.runs ?? -1);
      }
      await records.close();
    }
    const plain = new DatabaseSync(path);
    expect(plain.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
    expect(plain.prepare('SELECT count(*) AS n, max(id) AS top FROM events').get()).toSatisfy(
      (row: { n: number; top: number }) => row.n === row.top,
    );
    plain.close();
  });
});

describe('two hubs on one file', () => {
  test('write at once, each job is created once and nobody is refused', async () => {
    const body = `
      const ids = Array.from({ length: 400 }, (_, n) => 'shared-' + n);
      await Promise.all(Array.from({ length: 8 }, async (_, w) => {
        for (let n = w; n < ids.length; n += 8) {
          const [answer] = await records.submitJobs([newJob(ids[n])], 1);
          say(answer.kind + ' ' + ids[n]);
        }
      }));
      await records.close();`;
    const said = (await Promise.all([start(body), start(body)].map((child) => linesOf(child)))).flat();
    expect(said).toHaveLength(800);
    expect(said.filter((line) => line.startsWith('created')).sort()).toEqual(
      Array.from({ length: 400 }, (_, n) => `created shared-${n}`).sort(),
    );
  });
});

describe('a lock', () => {
  test('that another process holds is named, and is gone with that process', async () => {
    const records = await open({ lockWaitMs: 200 });
    const holder = spawn(
      process.execPath,
      [
        '-e',
        `
      const { DatabaseSync } = require('node:sqlite');
      const db = new DatabaseSync(process.env.STORE);
      db.exec('BEGIN EXCLUSIVE');
      console.log('locked');
      setInterval(() => db, 1000);`,
      ],
      { env: { ...process.env, STORE: path }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(holder);
    await linesOf(holder, (lines) => lines.includes('locked'));
    await expect(records.ping()).rejects.toMatchObject({
      code: 'RECORDS_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('locked by another process'),
    });
    await ended(holder, 'SIGKILL');
    await records.ping();
    await records.close();
  });
});

describe('a file without the right to write', () => {
  test('is refused with what to do', async () => {
    await (await open()).close();
    chmodSync(path, 0o444);
    chmodSync(folder, 0o555);
    // Root may write anything: the store is then tried by somebody else.
    const child = start("say('opened');", process.getuid?.() === 0 ? { uid: 65_534 } : {});
    const said = await linesOf(child);
    chmodSync(folder, 0o755);
    expect(said).toEqual([expect.stringMatching(/^refused RECORDS_UNAVAILABLE .*(right to write)/)]);
  });
});

/** A private mount of 3 MiB needs user namespaces, which some hosts forbid; store.test.ts has the limit that always works. */
const canMount = spawnSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

describe.runIf(canMount)('a full disk', () => {
  test('refuses what has no room and keeps what was acknowledged', async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const body = `
      let last = -1;
      for (let n = 0; n < 100_000; n++) {
        try { await records.submitJobs([newJob('d' + n)], 1); last = n; }
        catch (error) { say('full ' + error.code + ' ' + error.message); break; }
      }
      await records.close();
      const again = await openSqliteRecords(options).catch((error) => say('reopen ' + error.code + ' ' + error.message));
      if (again) say('kept ' + (last >= 0 && (await again.getJob('d' + last)) !== null) + ' half ' + ((await again.getJob('d' + (last + 1))) !== null));`;
    const child = spawn(
      'unshare',
      [
        '-Urm',
        'sh',
        '-c',
        'mount -t tmpfs -o size=3m tmpfs "$DISK" && exec "$0" "$@"',
        process.execPath,
        '--input-type=module-typescript',
        '-e',
        program(body),
      ],
      {
        env: { ...process.env, STORE: join(disk, 'records.db'), DISK: disk, NODE_OPTIONS: '' },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    children.push(child);
    const said = await linesOf(child);
    expect(said[0]).toMatch(/^full RECORDS_UNAVAILABLE .*free space/);
    expect(said[1]).toBe('kept true half false');
  });
});
