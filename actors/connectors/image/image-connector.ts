import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fontEnvironment } from '#actors/connectors/fonts.ts';
import { readPayload } from '#actors/connectors/payload.ts';
import { type StaffOptions, WorkerStaff } from '#actors/connectors/worker-staff.ts';
import type {
  Connector,
  ConnectorContext,
  ConnectorFactory,
  ConnectorResult,
  ConnectorRun,
} from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import { ImagePayload, imageSpec } from './image-spec.ts';

const mimes: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  webp: 'image/webp',
  avif: 'image/avif',
};

/** What the worker answers; the names are checked again, since it has decoded foreign pictures. */
const ImageAnswer = z.strictObject({
  outputs: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.(png|jpg|webp|avif)$/),
        width: z.int().min(1),
        height: z.int().min(1),
        bytes: z.int().min(1),
      }),
    )
    .max(17),
  rssMb: z.int().min(0),
});

/** Connector of the service `image`: edits pictures with libvips in child processes. */
export function imageConnector(options: StaffOptions = {}): ConnectorFactory {
  return (context) => new ImageConnector(context, options);
}

export class ImageConnector implements Connector {
  readonly spec = imageSpec;
  readonly #context: ConnectorContext;
  readonly #staff: WorkerStaff;

  constructor(context: ConnectorContext, options: StaffOptions = {}) {
    this.#context = context;
    this.#staff = new WorkerStaff({
      name: 'image',
      script: new URL('./image-worker.ts', import.meta.url),
      env: () => fontEnvironment(context.workDir),
      clock: context.env.clock,
      ...options,
    });
  }

  /** Process ids of the workers that live now. */
  get pids(): number[] {
    return this.#staff.pids;
  }

  async start(signal: AbortSignal): Promise<void> {
    await mkdir(this.#context.workDir, { recursive: true });
    await this.#staff.start(signal);
  }

  async probe(signal: AbortSignal): Promise<void> {
    await this.#staff.pool().probe(signal);
  }

  async run(run: ConnectorRun): Promise<ConnectorResult> {
    const pool = this.#staff.pool();
    const payload = readPayload(ImagePayload, run.payload);
    const { clock } = this.#context.env;
    const inputs = run.inputs.map(({ name, path, bytes, mime }) => ({ name, path, bytes, mime }));
    return await pool.use('image', run.signal, async (worker) => {
      const startedAt = clock.monotonic();
      const answer = await worker.request(
        'run',
        { payload, inputs, outDir: run.outDir },
        {
          signal: run.signal,
          onProgress: (progress) => run.progress(progress),
        },
      );
      const { outputs, rssMb } = this.#read(answer);
      return {
        outputs: outputs.map(({ name }) => ({
          name,
          path: join(run.outDir, name),
          mime: mimes[name.split('.').at(-1) ?? ''] ?? '',
        })),
        data: {
          outputs,
          operations: payload.operations.length,
          millis: Math.round(clock.monotonic() - startedAt),
          rssMb,
        },
      };
    });
  }

  /** The service has no models. */
  async evict(): Promise<void> {}

  async stop(): Promise<void> {
    await this.#staff.stop();
  }

  #read(answer: unknown): z.infer<typeof ImageAnswer> {
    const parsed = ImageAnswer.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw new EmpError('CONNECTOR_FAILED', {
      detail: 'the image worker gave an answer of unknown form',
      cause: parsed.error,
    });
  }
}
