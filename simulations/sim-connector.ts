import { simulatedBytes, simulationConnector } from '#actors/connectors/simulation/simulation-connector.ts';
import { SimulationPayload } from '#actors/connectors/simulation/simulation-spec.ts';
import type {
  Connector,
  ConnectorFactory,
  ConnectorOutput,
  ConnectorResult,
  ConnectorRun,
  ResidentModel,
} from '#protocol/connector.ts';
import type { Disk } from '#protocol/disk.ts';
import { type Clock, sleep } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { Buggify } from './buggify.ts';

/** What a simulated service suffers, and who watches it. */
export interface SimServiceOptions {
  /** Version that it reports; its own unless told otherwise. */
  version?: string;
  buggify?: Buggify;
  /** True while it answers nothing and does not hear that it should stop. */
  hangs?: () => boolean;
  /** Told of each run when its work begins and when the service has let go of it. */
  onRun?: (
    change: 'began' | 'ended',
    run: { jobId: string; token: string; models: readonly ResidentModel[] },
  ) => void;
  /** Told of each model that it must forget. */
  onEvict?: (modelId: string) => void;
  /** Gets the way to kill the service: its runs fail as with exit code 137, and it must be started again. */
  onStarted?: (kill: () => void) => void;
}

const slowStartLimitMs = 30_000;
/** How often a service that hangs is looked at: it goes on by itself when the fault is over, ms. */
const hangingMs = 500;

const killed = () =>
  new EmpError('CONNECTOR_FAILED', {
    detail: 'simulated: the service ended with exit code 137: out of memory',
  });

/**
 * The production connector of service `simulation`, whose outputs land on a simulated disk instead of
 * the real one. Time, progress, failures and models are the production code's.
 */
export function simConnector(disk: Disk, options: SimServiceOptions = {}): ConnectorFactory {
  const make = simulationConnector();
  return (context) => {
    const inner: Connector = make(context);
    const { clock } = context.env;
    const service = new SimService(options, clock);
    return {
      spec: options.version === undefined ? inner.spec : { ...inner.spec, version: options.version },
      async start(signal) {
        await service.starting(signal);
        await inner.start(signal);
        service.started(() => inner.stop());
      },
      async probe(signal) {
        await service.answering(signal);
        await inner.probe(signal);
      },
      async evict(modelId) {
        options.onEvict?.(modelId);
        await inner.evict(modelId);
      },
      async stop() {
        service.stopped();
        await inner.stop();
        await service.letGo();
      },
      run: (run) => service.running(run, () => runOn(disk, inner, run)),
    };
  };
}

type WatchedRun = Pick<ConnectorRun, 'jobId' | 'token' | 'models'>;

/** The process of a service, as far as faults concern it. */
class SimService {
  readonly #options: SimServiceOptions;
  readonly #clock: Clock;
  #dead = false;
  /** Aborts when it is ended: what hangs ends with it, there and then. */
  #life = new AbortController();
  readonly #atWork = new Set<Promise<ConnectorResult>>();

  constructor(options: SimServiceOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  async starting(signal: AbortSignal): Promise<void> {
    await this.#hanging(signal);
    const { buggify } = this.#options;
    if (buggify?.fires('service.slow start'))
      await sleep(this.#clock, buggify.amount('service.slow start', 1_000, slowStartLimitMs), signal);
  }

  started(stop: () => Promise<void>): void {
    this.#dead = false;
    this.#options.onStarted?.(() => {
      this.#dead = true;
      this.#end();
      // Nobody waits for it: what the killed process held is gone with it.
      void stop();
    });
  }

  stopped(): void {
    this.#end();
  }

  #end(): void {
    this.#life.abort();
    this.#life = new AbortController();
  }

  /** Rejects where a probe would. */
  async answering(signal: AbortSignal): Promise<void> {
    await this.#hanging(signal);
    if (this.#dead) throw killed();
    if (this.#options.buggify?.fires('service.probe fails'))
      throw new EmpError('CONNECTOR_FAILED', { detail: 'simulated: the probe was refused' });
  }

  /** Resolves when it works on nothing any more: who has stopped a service may take its models away. */
  async letGo(): Promise<void> {
    while (this.#atWork.size > 0) await Promise.allSettled(this.#atWork);
  }

  async running(run: WatchedRun, work: () => Promise<ConnectorResult>): Promise<ConnectorResult> {
    if (this.#dead) throw killed();
    const working = this.#work(run, work);
    this.#atWork.add(working);
    return await working.finally(() => this.#atWork.delete(working));
  }

  async #work(run: WatchedRun, work: () => Promise<ConnectorResult>): Promise<ConnectorResult> {
    const life = this.#life.signal;
    this.#options.onRun?.('began', run);
    try {
      const ended = work();
      const result = await ended.then(
        (value) => () => value,
        (error: unknown) => (): never => {
          throw this.#dead ? killed() : error;
        },
      );
      // What does not answer does not stop either, whatever it is told.
      await this.#hanging(new AbortController().signal, life);
      return result();
    } finally {
      this.#options.onRun?.('ended', run);
    }
  }

  async #hanging(signal: AbortSignal, life = this.#life.signal): Promise<void> {
    while (this.#options.hangs?.() === true && !life.aborted) {
      await sleep(this.#clock, hangingMs, AbortSignal.any([signal, life])).catch((error: unknown) => {
        if (!life.aborted) throw error;
      });
    }
  }
}

async function runOn(disk: Disk, inner: Connector, run: ConnectorRun): Promise<ConnectorResult> {
  const payload = SimulationPayload.parse(run.payload);
  const result = await inner.run({ ...run, payload: { ...(payload as JsonObject), outputs: 0 } });
  const outputs: ConnectorOutput[] = [];
  for (let index = 0; index < payload.outputs; index++) {
    run.signal.throwIfAborted();
    const name = `output-${index}.bin`;
    const sink = await disk.append(`${run.outDir}/${name}`, 0);
    for (const chunk of simulatedBytes(`${run.jobId}/${index}`, payload.outputBytes)) await sink.write(chunk);
    await sink.close({ sync: true });
    outputs.push({ name, path: `${run.outDir}/${name}`, mime: 'application/octet-stream' });
  }
  return { outputs, data: result.data };
}
