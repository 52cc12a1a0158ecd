import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as wasm from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, layers, loadLayersModel } from '@tensorflow/tfjs-layers';
import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { FileName } from '#protocol/names.ts';
import type { Pixels } from './tiles.ts';
import type { UpscaleModel } from './upscale-models.ts';

/** What is read of a model.json of TensorFlow.js; the topology is checked by its loader. */
const ModelFile = z.object({
  modelTopology: z.record(z.string(), z.unknown()),
  weightsManifest: z
    .array(
      z.object({
        paths: z.array(FileName).min(1).max(64),
        weights: z
          .array(
            z.object({
              name: z.string(),
              shape: z.array(z.int().min(0)).max(8),
              dtype: z.literal('float32'),
            }),
          )
          .max(10_000),
      }),
    )
    .min(1)
    .max(8),
});

const modelJsonLimitBytes = 4_194_304;

/** Sets up the WebAssembly backend: the one that runs on every CPU without native code of its own. */
export async function startBackend(): Promise<void> {
  wasm.setWasmPaths(`${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  if (!(await tf.setBackend('wasm'))) {
    throw new EmpError('CONNECTOR_FAILED', {
      detail: 'the WebAssembly backend of TensorFlow.js cannot be used here',
    });
  }
  await tf.ready();
  tf.serialization.registerClass(MultiplyBeta);
  tf.serialization.registerClass(PixelShuffle4x);
}

/** Loads the network from a folder with `model.json` and the weight files it names. */
export async function loadNetwork(dir: string): Promise<LayersModel> {
  const text = await readModelFile(dir, 'model.json');
  if (text.byteLength > modelJsonLimitBytes) throw modelRefused('model.json has more than 4 MiB');
  const parsed = ModelFile.safeParse(parseJson(text));
  if (!parsed.success)
    throw modelRefused(
      `model.json does not have the expected form: ${z.prettifyError(parsed.error).slice(0, 300)}`,
    );
  const { modelTopology, weightsManifest } = parsed.data;
  const weightSpecs = weightsManifest.flatMap(({ weights }) => weights);
  const shards = await Promise.all(
    weightsManifest.flatMap(({ paths }) => paths).map((name) => readModelFile(dir, name)),
  );
  const weightData = joined(shards);
  const needed = weightSpecs.reduce(
    (sum, { shape }) => sum + 4 * shape.reduce((size, side) => size * side, 1),
    0,
  );
  if (weightData.byteLength !== needed) {
    throw modelRefused(`the weights have ${weightData.byteLength} bytes where model.json asks for ${needed}`);
  }
  return await loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData }));
}

/** Runs the network on one window. Blocks until it is done: only a worker may call it. */
export function enlarge(network: LayersModel, { range, scale }: UpscaleModel, window: Pixels): Pixels {
  const { width, height } = window;
  const factor = range / 255;
  const data = new Uint8ClampedArray(width * height * scale * scale * 3);
  tf.tidy(() => {
    const input = tf.tensor4d(
      Float32Array.from(window.data, (value) => value * factor),
      [1, height, width, 3],
    );
    const output = network.predict(input);
    if (Array.isArray(output)) throw modelRefused('the network has more than one output');
    const [, outHeight, outWidth, channels] = output.shape;
    if (outHeight !== height * scale || outWidth !== width * scale || channels !== 3) {
      throw modelRefused(
        `the network gave ${output.shape.join('x')} where ${height * scale}x${width * scale}x3 was due`,
      );
    }
    // A clamped array also rounds.
    for (const [at, value] of output.dataSync().entries()) data[at] = value / factor;
  });
  return { data, width: width * scale, height: height * scale };
}

/** Layer of the thick network: scales a residual. */
class MultiplyBeta extends layers.Layer {
  static className = 'MultiplyBeta';
  readonly #beta: number;

  constructor(config: ConstructorParameters<typeof layers.Layer>[0] & { beta: number }) {
    super(config);
    this.#beta = config.beta;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.mul(single(inputs), this.#beta);
  }
}

/** Layer of the thick network: 48 channels become 4 by 4 pixels of 3. */
class PixelShuffle4x extends layers.Layer {
  static className = 'PixelShuffle4x';

  override computeOutputShape([batch, height, width, channels]: (number | null)[]): (number | null)[] {
    const times4 = (side: number | null | undefined) => (side == null ? null : side * 4);
    return [batch ?? null, times4(height), times4(width), channels == null ? null : channels / 16];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.depthToSpace(single(inputs) as tf.Tensor4D, 4, 'NHWC');
  }
}

function single(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
  const [first] = Array.isArray(inputs) ? inputs : [inputs];
  if (first === undefined) throw modelRefused('a layer got no input');
  return first;
}

/** One buffer of exactly these bytes: Node's small buffers are windows of a shared pool. */
function joined(parts: Uint8Array[]): ArrayBuffer {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole.buffer;
}

async function readModelFile(dir: string, name: string): Promise<Uint8Array> {
  return await readFile(join(dir, name)).catch((error: NodeJS.ErrnoException) => {
    throw modelRefused(`${name} cannot be read (${error.code})`, error);
  });
}

function parseJson(text: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(text).toString('utf8'));
  } catch (error) {
    throw modelRefused('model.json is no JSON', error);
  }
}

/** Another machine, or a fresh copy, may do: the files were intact when they were registered. */
function modelRefused(detail: string, cause?: unknown): EmpError {
  return new EmpError('CONNECTOR_FAILED', { detail: `the model cannot be used: ${detail}`, cause });
}
