import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#runtime/env.ts';
import { repeats } from '#runtime/toolchain/tiers.ts';
import { folderObjects } from './folder.ts';

/** The folder under real processes: killed while it stores, and on a full disk. */

const secret = 'k'.repeat(43);
const repository = join(import.meta.dirname, '..', '..');
const url = (file: string) => JSON.stringify(pathToFileURL(join(repository, file)).href);
let root: string;
let dir: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'emp-objects-process-'));
  dir = join(root, 'store');
});
afterEach(async () => {
  for (const child of children.splice(0)) await killed(child);
  rmSync(root, { recursive: true });
});

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** A program with a store in `process.env.STORE` and `put(key, text)`; `say` has been written when it returns. */
const program = (body: string) => `
  import { writeSync } from 'node:fs';
  import { folderObjects } from ${url('protocol/objects/folder.ts')};
  import { systemClock } from ${url('runtime/env.ts')};
  const say = (text) => writeSync(1, text + '\\n');
  const objects = folderObjects({ dir: process.env.STORE, secret: '${secret}', clock: systemClock });
  const put = async (key, text) => {
    const target = await objects.signPut({ key, bytes: null, sha256: null, limitBytes: 1e9, mime: 'text/plain', expiresInMs: 60_000, baseUrl: 'http://hub' });
    return objects.acceptSignedPut(target, (async function* () { for (let at = 0; at < text.length; at += 65_536) yield Buffer.from(text.slice(at, at + 65_536)); })(), {});
  };
  ${body}`;

function start(command: string, args: string[]): ChildProcess {
  const child = spawn(command, args, {
    env: { ...process.env, STORE: dir, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}
const node = (body: string) => ['--input-type=module-typescript', '-e', program(body)];

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

describe('a hub killed while it stores', () => {
  test(`every object is whole or not there, and what it left is swept, ${repeats(process.env)} × 5 times`, {
    timeout: 60_000 * repeats(process.env),
  }, async () => {
    for (let round = 0; round < 5 * repeats(process.env); round++) {
      const child = start(
        process.execPath,
        node(`
        let n = 0;
        await Promise.all(Array.from({ length: 8 }, async () => {
          for (;;) {
            const key = 'results/r${round}-' + n++ + '/5/out.txt';
            await put(key, key.repeat(5_000));
            say(key);
          }
        }));`),
      );
      const stored = await linesOf(child, (lines) => lines.length > 30 + (round % 5) * 13);
      await killed(child);
      const objects = folderObjects({ dir, secret, clock: systemClock });
      expect(readdirSync(join(dir, 'temporary'))).toEqual([]);
      const present = await objects.list({ prefix: `results/r${round}-`, after: null, limit: 1_000 });
      const keys = new Set(present.map((info) => info.key));
      for (const key of stored) expect(keys, key).toContain(key);
      for (const { key } of present) {
        const chunks: Uint8Array[] = [];
        for await (const chunk of await objects.read(key)) chunks.push(chunk);
        expect(Buffer.concat(chunks).toString() === key.repeat(5_000), key).toBe(true);
      }
    }
  });
});

/** A private mount of 2 MiB needs user namespaces, which some hosts forbid; a limit on file size is always to be had. */
const canMount = spawnSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
const limits: [string, string, string[]][] = [
  ['a limit on file size', 'sh', ['-c', 'ulimit -f 2048; exec "$0" "$@"']],
];
if (canMount)
  limits.push([
    'a full disk',
    'unshare',
    ['-Urm', 'sh', '-c', 'mount -t tmpfs -o size=2m tmpfs "$STORE" && exec "$0" "$@"'],
  ]);

describe('no room', () => {
  const body = `
    say('small ' + (await put('small', 'fits')).kind);
    try { say('big ' + (await put('big', 'x'.repeat(8_000_000))).kind); }
    catch (error) { say('big ' + error.code + ' ' + error.message); }
    say('left ' + (await objects.head('big')) + ' ' + (await objects.list({ prefix: '', after: null, limit: 10 })).map((info) => info.key));
    say('again ' + (await put('again', 'fits')).kind);`;

  test.each(limits)(
    'by %s: an upload is refused with what to do, leaves nothing, and smaller ones go on',
    async (_, command, args) => {
      mkdirSync(dir);
      const said = await linesOf(start(command, [...args, process.execPath, ...node(body)]));
      expect(said).toEqual([
        'small stored',
        expect.stringMatching(/^big DISK_FULL .*Free space/),
        'left null small',
        'again stored',
      ]);
    },
  );
});
