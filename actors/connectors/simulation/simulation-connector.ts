import { createCipheriv, createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fieldRefused, readPayload } from '#actors/connectors/payload.ts';
import type {
  Connector,
  ConnectorContext,
  ConnectorFactory,
  ConnectorOutput,
  ConnectorResult,
  ConnectorRun,
} from '#protocol/connector.ts';
import { type Env, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { SimulationPayload, simulationSpec } from './simulation-spec.ts';

export interface SimulationOptions {
  /** Lets `failWith: 'crash'` kill the process. Only for tests of real processes. */
  allowCrash?: boolean;
}

/** Jobs whose failed runs are remembered; beyond it the oldest is forgotten and fails anew. */
const rememberedJobs = 10_000;
const chunkBytes = 65_536;

/** Connector of the service `simulation`: it waits on the environment's clock and writes invented bytes. */
export function simulationConnector(options: SimulationOptions = {}): ConnectorFactory {
  return (context) => new SimulationConnector(context, options);
}

class SimulationConnector implements Connector {
  readonly spec = simulationSpec;
  readonly #env: Env;
  readonly #allowCrash: boolean;
  /** Failed runs by job id, in order of first failure. */
  readonly #failures = new Map<string, number>();
  readonly #loaded = new Set<string>();
  /** Aborts the runs of the present start; null while stopped. */
  #running: AbortController | null = null;

  constructor({ env }: ConnectorContext, { allowCrash = false }: SimulationOptions) {
    this.#env = env;
    this.#allowCrash = allowCrash;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#running ??= new AbortController();
  }

  async probe(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#started();
  }

  async run(run: ConnectorRun): Promise<ConnectorResult> {
    const signal = AbortSignal.any([run.signal, this.#started().signal]);
    signal.throwIfAborted();
    const payload = readPayload(SimulationPayload, run.payload);
    if (payload.failWith === 'crash' && !this.#allowCrash) {
      throw fieldRefused(['failWith'], '"crash" is switched off here; take "retryable" or "permanent"');
    }
    const fails = this.#draws(run, payload);
    const loadMs = await this.#load(payload, signal);
    await this.#work(run, payload, { signal, until: fails ? payload.failAt : 1 });
    if (fails) await this.#failRun(run, payload, signal);
    const outputs = await writeOutputs(run, payload, signal);
    return {
      outputs,
      data: {
        durationMs: payload.durationMs,
        loadMs,
        ...(payload.dataBytes > 0 ? { filler: 'x'.repeat(payload.dataBytes) } : {}),
      },
    };
  }

  async evict(modelId: string): Promise<void> {
    this.#loaded.delete(modelId);
  }

  async stop(): Promise<void> {
    this.#running?.abort(notStarted());
    this.#running = null;
    this.#loaded.clear();
  }

  #started(): AbortController {
    if (this.#running === null) throw notStarted();
    return this.#running;
  }

  /** Whether this run is one that fails. The draw is forked by the run, so no other draw can shift it. */
  #draws({ jobId, token }: ConnectorRun, { failWith, failRuns, failRate }: SimulationPayload): boolean {
    if (failWith === undefined) return false;
    if (failRuns !== undefined && (this.#failures.get(jobId) ?? 0) >= failRuns) return false;
    return this.#env.rng.fork(`simulation/${jobId}/${token}`).next() < failRate;
  }

  async #load({ models, loadMs }: SimulationPayload, signal: AbortSignal): Promise<number> {
    const [base] = models;
    if (base === undefined || this.#loaded.has(base)) return 0;
    if (loadMs > 0) await sleep(this.#env.clock, loadMs, signal);
    this.#loaded.add(base);
    return loadMs;
  }

  async #work(
    run: ConnectorRun,
    { durationMs, progressSteps }: SimulationPayload,
    { signal, until }: { signal: AbortSignal; until: number },
  ): Promise<void> {
    const { clock } = this.#env;
    const startedAt = clock.monotonic();
    const reach = async (fraction: number) => {
      // Counted from the start: late timers must not add up over a thousand steps.
      const waitMs = startedAt + durationMs * fraction - clock.monotonic();
      if (waitMs > 0) await sleep(clock, waitMs, signal);
    };
    for (let step = 1; step <= progressSteps && step / progressSteps <= until; step++) {
      await reach(step / progressSteps);
      run.progress({ fraction: step / progressSteps, message: `step ${step} of ${progressSteps}` });
    }
    await reach(until);
    signal.throwIfAborted();
  }

  async #failRun(
    { jobId }: ConnectorRun,
    { failWith, failAt }: SimulationPayload,
    signal: AbortSignal,
  ): Promise<never> {
    this.#remember(jobId);
    const detail = `the payload asked for a failure at ${failAt} of the run`;
    if (failWith === 'crash') process.kill(process.pid, 'SIGKILL');
    if (failWith === 'permanent') throw new EmpError('JOB_FAILED', { detail });
    if (failWith === 'retryable') throw new EmpError('CONNECTOR_FAILED', { detail });
    return await new Promise((_resolve, reject) => {
      if (signal.aborted) reject(signal.reason);
      else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  #remember(jobId: string): void {
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined && this.#failures.size >= rememberedJobs && !this.#failures.has(jobId))
      this.#failures.delete(oldest);
    this.#failures.set(jobId, (this.#failures.get(jobId) ?? 0) + 1);
  }
}

async function writeOutputs(
  { jobId, outDir }: ConnectorRun,
  { outputs, outputBytes }: SimulationPayload,
  signal: AbortSignal,
): Promise<ConnectorOutput[]> {
  const written: ConnectorOutput[] = [];
  for (let index = 0; index < outputs; index++) {
    const name = `output-${index}.bin`;
    const path = join(outDir, name);
    const bytes = Readable.from(simulatedBytes(`${jobId}/${index}`, outputBytes));
    await pipeline(bytes, createWriteStream(path), { signal }).catch((error: unknown) => {
      throw signal.aborted
        ? signal.reason
        : new EmpError('CONNECTOR_FAILED', { detail: `${name} could not be written`, cause: error });
    });
    written.push({ name, path, mime: 'application/octet-stream' });
  }
  return written;
}

/** `bytes` bytes that follow from `seed` alone: an AES-CTR key stream, as it neither repeats nor compresses. */
export function* simulatedBytes(seed: string, bytes: number): Generator<Uint8Array> {
  const key = createHash('sha256').update(seed).digest();
  const stream = createCipheriv('aes-256-ctr', key, new Uint8Array(16));
  const zeros = new Uint8Array(chunkBytes);
  for (let left = bytes; left > 0; left -= chunkBytes)
    yield stream.update(zeros.subarray(0, Math.min(left, chunkBytes)));
}

function notStarted(): EmpError {
  return new EmpError('CONNECTOR_FAILED', {
    detail: 'the simulation connector is not started; call start first',
  });
}
