import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Connector, ConnectorRun, RunProgress } from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';
import type { JsonObject } from '#protocol/json.ts';
import { FileName } from '#protocol/names.ts';

/** The part of a run that depends on the service. */
export type RunRequest = Pick<ConnectorRun, 'payload' | 'inputs' | 'models'>;

export interface ConnectorUnderTest {
  connector: Connector;
  /** Succeeds soon and writes at least one output. */
  quick: RunRequest;
  /** Reports progress soon and then works for so long that it can be aborted. */
  long: RunRequest;
  /** A payload the service refuses, and where. */
  refused: { payload: JsonObject; pointer: string };
  /** Child processes that live now; none for a connector without them. */
  childPids(): number[];
}

/**
 * The rules of `protocol/connector.ts` as tests. `setup` makes a connector that is not started, with
 * `workDir` for its own files; the suite stops it. Every connector's tests call this first.
 */
export function connectorConformance(
  name: string,
  setup: (workDir: string) => Promise<ConnectorUnderTest>,
): void {
  const opened: { subject: ConnectorUnderTest; dir: string }[] = [];
  const open = async (): Promise<Bench> => {
    const dir = await mkdtemp(join(tmpdir(), 'emp-connector-'));
    const subject = await setup(join(dir, 'work'));
    opened.push({ subject, dir });
    return new Bench(subject, dir);
  };
  const started = async (): Promise<Bench> => {
    const bench = await open();
    await bench.connector.start(never);
    return bench;
  };

  afterEach(async () => {
    for (const { subject, dir } of opened.splice(0)) {
      await subject.connector.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });

  describe(`${name} keeps the contract of a connector`, () => {
    startTests({ open, started });
    runTests({ open, started });
    endTests({ open, started });
  });
}

const never = new AbortController().signal;

interface Benches {
  /** A connector that was not started. */
  open(): Promise<Bench>;
  started(): Promise<Bench>;
}

function startTests({ open, started }: Benches): void {
  test('what it offers is well formed and answers the same twice', async () => {
    const { connector, quick } = await open();
    const { spec } = connector;
    const payload = spec.payload.parse(quick.payload);
    expect(spec.service).toMatch(/^[a-z][a-z0-9-]*$/);
    expect(spec.version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(spec.inputs.min).toBeGreaterThanOrEqual(0);
    expect(spec.inputs.max).toBeGreaterThanOrEqual(spec.inputs.min);
    expect(spec.expectedMs(payload)).toBeGreaterThanOrEqual(0);
    expect(spec.expectedMs(payload)).toBe(spec.expectedMs(payload));
    expect(spec.models(payload)).toEqual(spec.models(payload));
    expect(spec.payload.parse(payload)).toEqual(payload);
  });

  test('before its start it is not healthy and runs nothing', async () => {
    const bench = await open();
    await expect(bench.connector.probe(never)).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    await expect(bench.run('quick')).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    expect(bench.childPids()).toEqual([]);
  });

  test('a second start changes nothing and it stays healthy', async () => {
    const { connector } = await started();
    await connector.start(never);
    await expect(connector.probe(never)).resolves.toBeUndefined();
  });

  test('a start that is aborted already starts nothing', async () => {
    const { connector, childPids } = await open();
    const reason = new EmpError('DRAINING');
    await expect(connector.start(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(childPids()).toEqual([]);
  });
}

function runTests({ started }: Benches): void {
  test('outputs lie in the folder of the run, under legal and different names', async () => {
    const bench = await started();
    const { result, run } = await bench.run('quick');
    expect(result.outputs.length).toBeGreaterThan(0);
    for (const output of result.outputs) {
      expect(FileName.safeParse(output.name).success).toBe(true);
      expect(dirname(output.path)).toBe(run.outDir);
      expect((await stat(output.path)).isFile()).toBe(true);
      expect(output.mime).toMatch(/^[a-z]+\/[a-z0-9.+-]+$/);
    }
    expect(new Set(result.outputs.map((output) => output.name)).size).toBe(result.outputs.length);
    const data = JSON.stringify(result.data);
    expect(data.length).toBeLessThanOrEqual(65_536);
    expect(JSON.parse(data)).toEqual(result.data);
  });

  test('progress is reported, lies between 0 and 1 and never falls', async () => {
    const bench = await started();
    const { reports } = await bench.run('quick');
    const fractions = reports.map(({ fraction }) => fraction);
    expect(fractions.length).toBeGreaterThan(0);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
    expect(fractions.every((fraction) => fraction >= 0 && fraction <= 1)).toBe(true);
    const previews = reports.flatMap(({ preview }) => preview ?? []);
    expect(previews.every(({ bytes }) => bytes.byteLength > 0 && bytes.byteLength <= 65_536)).toBe(true);
  });

  test('two runs at once both succeed', async () => {
    const bench = await started();
    const runs = await Promise.all([bench.run('quick'), bench.run('quick')]);
    const paths = runs.flatMap(({ result }) => result.outputs.map((output) => output.path));
    expect(new Set(paths).size).toBe(paths.length);
  });

  test('a refused payload names its field, in the schema and in a run', async () => {
    const bench = await started();
    const { payload, pointer } = bench.refused;
    const { error } = bench.connector.spec.payload.safeParse(payload);
    expect(error?.issues.map(({ path }) => `/${path.join('/')}`)).toContain(pointer);
    await expect(bench.run('quick', { payload })).rejects.toMatchObject({
      code: 'PAYLOAD_INVALID',
      retryable: false,
      errors: expect.arrayContaining([{ pointer, detail: expect.any(String) }]),
    });
  });

  test('eviction of a model that is not there is no error, and after a real one the next run succeeds', async () => {
    const bench = await started();
    await bench.connector.evict('no-such-model');
    await bench.run('quick');
    for (const { id } of bench.quick.models) await bench.connector.evict(id);
    await bench.run('quick');
  });
}

function endTests({ started }: Benches): void {
  test('a run that is aborted already does nothing', async () => {
    const bench = await started();
    const reason = new EmpError('LEASE_LOST');
    const controller = new AbortController();
    controller.abort(reason);
    await expect(bench.run('long', {}, controller)).rejects.toBe(reason);
  });

  test('an aborted run ends with the reason, its process with it, and the next run succeeds', async () => {
    const bench = await started();
    const reason = new EmpError('JOB_CANCELLED');
    const controller = new AbortController();
    const run = bench.run('long', {}, controller);
    await bench.progressed();
    const working = bench.childPids();
    controller.abort(reason);
    await expect(run).rejects.toBe(reason);
    expect(working.filter(isAlive)).toEqual([]);
    const reported = bench.reportsOf('job_1').length;
    await bench.connector.probe(never);
    await bench.run('quick');
    expect(bench.reportsOf('job_1')).toHaveLength(reported);
  });

  test('stop ends a run under way, and no process is left', async () => {
    const bench = await started();
    const run = bench.run('long');
    await bench.progressed();
    const working = bench.childPids();
    const [outcome] = await Promise.allSettled([run, bench.connector.stop()]);
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'CONNECTOR_FAILED' } });
    expect(working.filter(isAlive)).toEqual([]);
    expect(bench.childPids()).toEqual([]);
  });

  test('after stop it refuses runs, takes another stop, and can be started again', async () => {
    const bench = await started();
    await bench.connector.stop();
    await bench.connector.stop();
    await expect(bench.run('quick')).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    await expect(bench.connector.probe(never)).rejects.toMatchObject({ code: 'CONNECTOR_FAILED' });
    await bench.connector.start(never);
    await bench.run('quick');
  });
}

/** One connector with folders and signals for its runs. */
class Bench {
  readonly connector: Connector;
  readonly quick: RunRequest;
  readonly refused: ConnectorUnderTest['refused'];
  readonly childPids: () => number[];
  readonly #reports: { jobId: string; report: RunProgress }[] = [];
  readonly #subject: ConnectorUnderTest;
  readonly #dir: string;
  readonly #firstProgress = Promise.withResolvers<void>();
  #runs = 0;

  constructor(subject: ConnectorUnderTest, dir: string) {
    this.#subject = subject;
    this.#dir = dir;
    this.connector = subject.connector;
    this.quick = subject.quick;
    this.refused = subject.refused;
    this.childPids = () => subject.childPids();
  }

  /** Resolves at the first progress of any run. */
  progressed(): Promise<void> {
    return this.#firstProgress.promise;
  }

  reportsOf(jobId: string): RunProgress[] {
    return this.#reports.filter((entry) => entry.jobId === jobId).map(({ report }) => report);
  }

  async run(which: 'quick' | 'long', change: Partial<RunRequest> = {}, controller = new AbortController()) {
    const number = ++this.#runs;
    const outDir = join(this.#dir, `out-${number}`);
    await mkdir(outDir);
    const jobId = `job_${number}`;
    const run: ConnectorRun = {
      jobId,
      token: String(number),
      ...this.#subject[which],
      ...change,
      outDir,
      signal: controller.signal,
      progress: (report) => {
        this.#reports.push({ jobId, report });
        this.#firstProgress.resolve();
      },
    };
    const result = await this.connector.run(run);
    return { run, result, reports: this.reportsOf(jobId) };
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
