import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { describe, expect, onTestFinished, test } from 'vitest';
import { nodeDisk } from './node-disk.ts';

async function folder(): Promise<string> {
  const dir = await mkdtemp(`${tmpdir()}/emp-disk-`);
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function textOf(path: string, start: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of nodeDisk.read(path, start)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('node disk', () => {
  test('a file grows at its end, or from where it is kept', async () => {
    const path = `${await folder()}/f`;
    const write = async (text: string, keepBytes: number) => {
      const sink = await nodeDisk.append(path, keepBytes);
      await sink.write(Buffer.from(text));
      await sink.close({ sync: true });
      await sink.close({ sync: true });
    };
    await write('hello world', 0);
    await write('there', 6);
    expect(await readFile(path, 'utf8')).toBe('hello there');
    await write('new', 0);
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await textOf(path, 1)).toBe('ew');
  });

  test('a device without room is DISK_FULL', async () => {
    const sink = await nodeDisk.append('/dev/full', 0);
    await expect(sink.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'DISK_FULL', retryable: true });
    await sink.close({ sync: false });
  });

  test('lists files and folders by name; what is absent is empty', async () => {
    const dir = await folder();
    await writeFile(`${dir}/b`, '123');
    await mkdir(`${dir}/a`);
    await symlink('/etc/passwd', `${dir}/c`);
    expect(await nodeDisk.list(dir)).toEqual([
      { name: 'a', kind: 'folder', bytes: 0 },
      { name: 'b', kind: 'file', bytes: 3 },
    ]);
    expect(await nodeDisk.list(`${dir}/none`)).toEqual([]);
  });

  test('only a plain file has a size: neither a link nor a folder nor nothing', async () => {
    const dir = await folder();
    await writeFile(`${dir}/f`, '123');
    await symlink(`${dir}/f`, `${dir}/link`);
    expect(
      await Promise.all([`${dir}/f`, `${dir}/link`, dir, `${dir}/none`].map(nodeDisk.fileBytes)),
    ).toEqual([3, null, null, null]);
  });

  test('text is replaced in one step', async () => {
    const dir = await folder();
    expect(await nodeDisk.readText(`${dir}/t`)).toBeNull();
    await nodeDisk.writeText(`${dir}/t`, 'one');
    await nodeDisk.writeText(`${dir}/t`, 'two');
    expect(await nodeDisk.readText(`${dir}/t`)).toBe('two');
    expect((await nodeDisk.list(dir)).map((entry) => entry.name)).toEqual(['t']);
  });

  test('makes, renames and removes folders; what is there already or gone is fine', async () => {
    const dir = await folder();
    await nodeDisk.makeFolder(`${dir}/a/b`);
    await nodeDisk.makeFolder(`${dir}/a/b`);
    await nodeDisk.rename(`${dir}/a`, `${dir}/c`);
    expect((await nodeDisk.list(dir)).map((entry) => entry.name)).toEqual(['c']);
    await nodeDisk.remove(`${dir}/c`);
    await nodeDisk.remove(`${dir}/c`);
    expect(await nodeDisk.list(dir)).toEqual([]);
  });

  test('knows how much room there is', async () => {
    expect(await nodeDisk.freeBytes(await folder())).toBeGreaterThan(0);
  });
});
