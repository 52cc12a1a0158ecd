import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fontEnvironment } from '#actors/connectors/fonts.ts';
import { readPayload } from '#actors/connectors/payload.ts';
import type { WorkerProcess } from '#actors/connectors/worker-process.ts';
import { type StaffOptions, WorkerStaff } from '#actors/connectors/worker-staff.ts';
import type {
  Connector,
  ConnectorContext,
  ConnectorFactory,
  ConnectorResult,
  ConnectorRun,
  ResidentModel,
  StagedInput,
} from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import { UpscalePayload, upscaleSpec } from './upscale-spec.ts';

const mimes: Record<UpscalePayload['format'], string> = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
};

/** What the worker answers; the names are checked again, since it has decoded a foreign picture. */
const UpscaleAnswer = z.strictObject({
  names: z
    .array(z.string().regex(/^(upscaled|comparison)\.(png|jpg|webp)$/))
    .min(1)
    .max(2),
  width: z.int().min(1),
  height: z.int().min(1),
  inputWidth: z.int().min(1),
  inputHeight: z.int().min(1),
  tiles: z.int().min(1),
  rssMb: z.int().min(0),
});

/** Connector of the service `upscale`: ESRGAN networks on the CPU, one child process for each loaded model. */
export function upscaleConnector(options: StaffOptions = {}): ConnectorFactory {
  return (context) => new UpscaleConnector(context, options);
}

export class UpscaleConnector implements Connector {
  readonly spec = upscaleSpec;
  readonly #context: ConnectorContext;
  readonly #staff: WorkerStaff;
  /** Workers whose model is loaded; its id is their key in the pool. */
  readonly #loaded = new WeakSet<WorkerProcess>();

  constructor(context: ConnectorContext, options: StaffOptions = {}) {
    this.#context = context;
    this.#staff = new WorkerStaff({
      name: 'upscale',
      script: new URL('./upscale-worker.ts', import.meta.url),
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
    const payload = readPayload(UpscalePayload, run.payload);
    const input = onlyInput(run.inputs);
    const resident = residentModel(run.models, payload.model);
    const { clock } = this.#context.env;
    return await pool.use(payload.model, run.signal, async (worker) => {
      const startedAt = clock.monotonic();
      await this.#load(worker, resident, run.signal);
      const loadedAt = clock.monotonic();
      const answer = await worker.request(
        'run',
        { payload, input, outDir: run.outDir },
        {
          signal: run.signal,
          onProgress: (progress) => run.progress(progress),
        },
      );
      const { names, ...facts } = readAnswer(answer);
      return {
        outputs: names.map((name) => ({ name, path: join(run.outDir, name), mime: mimes[payload.format] })),
        data: {
          model: payload.model,
          ...facts,
          loadMs: Math.round(loadedAt - startedAt),
          millis: Math.round(clock.monotonic() - loadedAt),
        },
      };
    });
  }

  async evict(modelId: string): Promise<void> {
    await this.#staff.evict(modelId);
  }

  async stop(): Promise<void> {
    await this.#staff.stop();
  }

  async #load(worker: WorkerProcess, { id, dir }: ResidentModel, signal: AbortSignal): Promise<void> {
    if (this.#loaded.has(worker)) return;
    try {
      await worker.request('load', { modelId: id, dir }, { signal });
    } catch (error) {
      // It may hold half a model: the next run gets a new process.
      await worker.kill();
      throw error;
    }
    this.#loaded.add(worker);
  }
}

function onlyInput(inputs: StagedInput[]): { name: string; path: string; bytes: number; mime: string } {
  const [input] = inputs;
  if (input === undefined || inputs.length > 1) {
    throw new EmpError('INPUT_INVALID', {
      detail: `upscale takes exactly one input picture, the job has ${inputs.length}`,
      errors: [{ pointer: '/inputs', detail: 'give exactly one picture' }],
    });
  }
  const { name, path, bytes, mime } = input;
  return { name, path, bytes, mime };
}

function residentModel(models: ResidentModel[], id: string): ResidentModel {
  const model = models.find((candidate) => candidate.id === id);
  if (model !== undefined) return model;
  throw new EmpError('CONNECTOR_FAILED', {
    detail: `the model "${id}" was not made resident for this run`,
    fields: { modelId: id },
  });
}

function readAnswer(answer: unknown): z.infer<typeof UpscaleAnswer> {
  const parsed = UpscaleAnswer.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new EmpError('CONNECTOR_FAILED', {
    detail: 'the upscale worker gave an answer of unknown form',
    cause: parsed.error,
  });
}
