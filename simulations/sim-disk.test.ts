import { describe, expect, test } from 'vitest';
import { SimDisk } from './sim-disk.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

async function fill(disk: SimDisk, path: string, text: string, sync = true): Promise<void> {
  const sink = await disk.append(path, 0);
  await sink.write(bytes(text));
  await sink.close({ sync });
}

async function readAll(disk: SimDisk, path: string, start = 0): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of disk.read(path, start)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('simulated disk', () => {
  test('a file grows at its end, keeps what it is told to keep and is read from any byte', async () => {
    const disk = new SimDisk({ capacityBytes: 1_000 });
    await disk.makeFolder('/models/a');
    await fill(disk, '/models/a/w.bin', 'hello world');
    const sink = await disk.append('/models/a/w.bin', 5);
    await sink.write(bytes('!'));
    await sink.write(bytes('?'));
    await sink.close({ sync: true });
    await sink.close({ sync: true });
    expect(await readAll(disk, '/models/a/w.bin')).toBe('hello!?');
    expect(await readAll(disk, '/models/a/w.bin', 4)).toBe('o!?');
    expect(await disk.fileBytes('/models/a/w.bin')).toBe(7);
    expect(await disk.list('/models')).toEqual([{ name: 'a', kind: 'folder', bytes: 0 }]);
    expect(await disk.list('/nowhere')).toEqual([]);
  });

  test('a write that finds no room rejects with DISK_FULL and changes nothing', async () => {
    const disk = new SimDisk({ capacityBytes: 10 });
    await disk.makeFolder('/d');
    await fill(disk, '/d/a', '12345678');
    const sink = await disk.append('/d/b', 0);
    await expect(sink.write(bytes('123'))).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect([await disk.fileBytes('/d/b'), await disk.freeBytes('/d')]).toEqual([0, 2]);
    await disk.remove('/d/a');
    await sink.write(bytes('123'));
    expect(disk.usedBytes).toBe(3);
    expect(disk.highestUsedBytes).toBe(8);
  });

  test('a crash keeps synced bytes only, a wipe keeps nothing', async () => {
    const disk = new SimDisk({ capacityBytes: 1_000 });
    await disk.makeFolder('/d');
    await fill(disk, '/d/synced', 'abc');
    const sink = await disk.append('/d/synced', 3);
    await sink.write(bytes('def'));
    await fill(disk, '/d/lazy', 'xyz', false);
    await disk.writeText('/d/note', 'kept');
    disk.crash();
    expect([
      await readAll(disk, '/d/synced'),
      await disk.fileBytes('/d/lazy'),
      await disk.readText('/d/note'),
    ]).toEqual(['abc', 0, 'kept']);
    disk.wipe();
    expect([await disk.list('/'), disk.usedBytes]).toEqual([[], 0]);
  });

  test('a rename moves a file over another, and a folder with all it holds', async () => {
    const disk = new SimDisk({ capacityBytes: 1_000 });
    await disk.makeFolder('/tmp/run');
    await disk.makeFolder('/models');
    await fill(disk, '/tmp/run/a', 'new');
    await fill(disk, '/models/a', 'older');
    await disk.rename('/tmp/run/a', '/models/a');
    expect(await readAll(disk, '/models/a')).toBe('new');
    await disk.rename('/models', '/kept');
    expect(await readAll(disk, '/kept/a')).toBe('new');
    expect(disk.bytesUnder('/kept')).toBe(3);
    await expect(disk.rename('/models/a', '/kept/b')).rejects.toThrow('nothing at /models/a');
  });

  test('paths that leave the disk or name no folder are refused', async () => {
    const disk = new SimDisk({ capacityBytes: 1_000 });
    await expect(disk.makeFolder('relative')).rejects.toThrow('absolute');
    await expect(disk.fileBytes('/a/../b')).rejects.toThrow('no ..');
    await expect(disk.append('/absent/file', 0)).rejects.toThrow('no folder /absent');
    await expect(readAll(disk, '/absent')).rejects.toThrow('no file');
  });
});
