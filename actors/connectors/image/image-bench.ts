import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { ConnectorOutput, RunProgress, StagedInput } from '#protocol/connector.ts';
import type { Env } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';
import { ImageConnector } from './image-connector.ts';

const photos = new URL('../../../runtime/demo/photos/', import.meta.url).pathname;

/** One of the photos of the demo as an input. */
export function photo(name: 'chelsea.jpg' | 'coffee.jpg' | 'rocket.jpg'): StagedInput {
  return { name, path: join(photos, name), bytes: 1, mime: 'image/jpeg' };
}

export interface DescribedPicture {
  width: number;
  height: number;
  format: string;
  /** Red, green, blue and alpha. */
  pixel(x: number, y: number): number[];
  pixels: Buffer;
}

export async function describePicture(path: string): Promise<DescribedPicture> {
  const { format } = await sharp(path).metadata();
  const { data, info } = await sharp(path)
    .ensureAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return {
    width: info.width,
    height: info.height,
    format,
    pixel: (x, y) => [...data.subarray((y * info.width + x) * 4, (y * info.width + x) * 4 + 4)],
    pixels: data,
  };
}

/** A started image connector with a folder of its own, for the tests of its operations. */
export class ImageBench {
  readonly dir: string;
  readonly connector: ImageConnector;
  #runs = 0;

  static async open(env: Env): Promise<ImageBench> {
    const bench = new ImageBench(env, await mkdtemp(join(tmpdir(), 'emp-image-')));
    await bench.connector.start(new AbortController().signal);
    return bench;
  }

  private constructor(env: Env, dir: string) {
    this.dir = dir;
    this.connector = new ImageConnector({ env, workDir: join(dir, 'work') });
  }

  async close(): Promise<void> {
    await this.connector.stop();
    await rm(this.dir, { recursive: true });
  }

  async run(operations: JsonObject[], inputs: StagedInput[] = []) {
    const outDir = join(this.dir, `out-${++this.#runs}`);
    await mkdir(outDir);
    const reports: RunProgress[] = [];
    const result = await this.connector.run({
      jobId: 'job_1',
      token: '1',
      payload: { operations },
      inputs,
      models: [],
      outDir,
      signal: new AbortController().signal,
      progress: (report) => reports.push(report),
    });
    const outputs: (ConnectorOutput & DescribedPicture)[] = [];
    for (const output of result.outputs) outputs.push({ ...output, ...(await describePicture(output.path)) });
    const [first] = outputs;
    if (first === undefined) throw new Error('the run wrote nothing');
    return { outputs, reports, data: result.data, first };
  }

  /** A plain picture of one colour as PNG. */
  async plain(name: string, size: { width: number; height: number; colour: string }): Promise<StagedInput> {
    const { width, height, colour } = size;
    const picture = sharp({ create: { width, height, channels: 4, background: colour } });
    return await this.file(name, await picture.png().toBuffer());
  }

  async file(name: string, bytes: Uint8Array): Promise<StagedInput> {
    const path = join(this.dir, name);
    await writeFile(path, bytes);
    return { name, path, bytes: bytes.byteLength, mime: 'image/png' };
  }
}
