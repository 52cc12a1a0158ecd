import type PQueue from 'p-queue';
import { fromCallback, fromPromise } from 'xstate';
import type { ExecuteInput, JobRunEvent } from '#machines/job-run-base.ts';
import { jobErrorOf } from '#machines/policy/job-error.ts';
import type {
  Connector,
  ConnectorOutput,
  ConnectorResult,
  ConnectorRun,
  RunProgress,
  StagedInput,
} from '#protocol/connector.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError, type ErrorCode } from '#protocol/errors.ts';
import { type JobOutput, outputsLimit } from '#protocol/job.ts';
import { type Assignment, type LinkAnswer, type LinkBody, previewLimitBytes } from '#protocol/link.ts';
import { FileName } from '#protocol/names.ts';
import { objectLimitBytes } from '#protocol/objects.ts';
import type { ClaimNumbers } from './claim.ts';
import type { LinkClient } from './link-client.ts';
import type { ReporterEvent } from './reporter.ts';
import { download, hashFile, type TransferPorts, upload } from './transfer.ts';

export interface JobRunPorts extends TransferPorts {
  link: Pick<LinkClient, 'request'>;
  numbers: ClaimNumbers;
  connectors: ReadonlyMap<string, Connector>;
  /** Bounds how many transfers run at once; it keeps no time. */
  uploads: PQueue;
  downloads: PQueue;
  requestMs: number;
}

/** A service may report hundreds of times a second; the deadline of a stalled run is not that fine, ms. */
const signOfLifeMs = 1_000;
/** Largest small facts of a result, bytes as JSON. */
const dataLimitBytes = 65_536;

type ExecuteEnd = Extract<JobRunEvent, { type: 'run.finished' | 'run.failed' }>;

/** Effects of one run: stage, execute, upload, report. */
export function jobRunActors(ports: JobRunPorts) {
  const { link, disk, numbers, requestMs } = ports;
  return {
    stageInputs: fromPromise<StagedInput[], { assignment: Assignment; folder: string }>(({ input, signal }) =>
      stage(ports, { ...input, signal }),
    ),
    execute: fromCallback<{ type: 'abort' }, ExecuteInput>(({ input, sendBack, receive, system }) => {
      const controller = new AbortController();
      const abort = () =>
        controller.abort(new EmpError('LEASE_LOST', { detail: 'the run was told to stop' }));
      const report = (event: ReporterEvent) =>
        (system.get('reporter') as { send(event: ReporterEvent): void } | undefined)?.send(event);
      const alive = atMostEvery(ports.env.clock, signOfLifeMs, () => sendBack({ type: 'run.progress' }));
      const progress = progressTo({ assignment: input.assignment, report, alive });
      let settled = false;
      const settle = (event: ExecuteEnd) => {
        settled = true;
        sendBack(event);
      };
      receive(abort);
      void execute(ports, { ...input, signal: controller.signal, progress }).then(
        (result) => settle({ type: 'run.finished', result }),
        (error: unknown) => settle({ type: 'run.failed', error: jobErrorOf(error, 'CONNECTOR_FAILED') }),
      );
      return () => {
        if (!settled) abort();
      };
    }),
    upload: fromPromise<JobOutput[], { assignment: Assignment; outputs: ConnectorOutput[] }>(
      ({ input, signal }) => ports.uploads.add(() => uploadAll(ports, { ...input, signal }), { signal }),
    ),
    complete: fromPromise<LinkAnswer<'complete'>, LinkBody<'complete'>>(async ({ input, signal }) => {
      if (input.next !== null) numbers.sent(input.next);
      const answer = await link.request('complete', input, { deadlineMs: requestMs, signal });
      if (input.next !== null && answer.next !== null) numbers.answered(input.next);
      return answer;
    }),
    exit: fromPromise<LinkAnswer<'exit'>, LinkBody<'exit'>>(({ input, signal }) =>
      link.request('exit', input, { deadlineMs: requestMs, signal }),
    ),
    cleanUp: fromPromise<void, { folder: string }>(({ input }) => disk.remove(input.folder)),
  };
}

async function stage(
  ports: JobRunPorts,
  options: { assignment: Assignment; folder: string; signal: AbortSignal },
): Promise<StagedInput[]> {
  const { assignment, folder, signal } = options;
  const { jobId, token } = assignment;
  if (assignment.inputs.length === 0) return [];
  const signed = await ports.link.request(
    'sign',
    { what: 'inputs', jobId, token },
    { deadlineMs: ports.requestMs, signal },
  );
  if (signed.kind === 'refused')
    throw new EmpError(signed.error.code, {
      detail: signed.error.message,
      retryable: signed.error.retryable,
    });
  if (signed.files.length !== assignment.inputs.length) {
    throw new EmpError('INPUT_UNAVAILABLE', {
      detail: `the hub signed ${signed.files.length} of ${assignment.inputs.length} inputs`,
    });
  }
  const dir = `${folder}/inputs`;
  await ports.disk.makeFolder(dir);
  const fetchOne = async (file: (typeof signed.files)[number], index: number): Promise<StagedInput> => {
    const name = (assignment.inputs[index] as { name: string }).name;
    const path = `${dir}/${name}`;
    const url = file.urls[0] as string;
    const limitBytes = file.bytes ?? objectLimitBytes;
    const got = await ofStore('INPUT_UNAVAILABLE', () =>
      download(ports, { url, path, bytes: file.bytes, limitBytes, code: 'INPUT_UNAVAILABLE', signal }),
    );
    if (file.sha256 !== null && got.sha256 !== file.sha256) {
      await ports.disk.remove(path);
      throw new EmpError('INPUT_UNAVAILABLE', {
        detail: `input ${name} has another hash than the one that was uploaded`,
      });
    }
    return { name, path, bytes: got.bytes, mime: file.mime };
  };
  return await Promise.all(
    signed.files.map((file, index) => ports.downloads.add(() => fetchOne(file, index), { signal })),
  );
}

/** A store that falls silent is no hub that does: asking again without counting would be for ever. */
async function ofStore<T>(code: ErrorCode, transfer: () => Promise<T>): Promise<T> {
  try {
    return await transfer();
  } catch (error) {
    if (!(error instanceof EmpError) || error.code !== 'TIMEOUT') throw error;
    throw new EmpError(code, { detail: error.message, retryable: true, cause: error });
  }
}

async function execute(
  ports: JobRunPorts,
  options: ExecuteInput & { signal: AbortSignal; progress: (progress: RunProgress) => void },
): Promise<ConnectorResult> {
  const { assignment, inputs, models, folder, signal, progress } = options;
  const connector = ports.connectors.get(assignment.service);
  if (connector === undefined)
    throw new EmpError('CONNECTOR_FAILED', { detail: `this machine runs no ${assignment.service}` });
  const payload = connector.spec.payload.safeParse(assignment.payload);
  if (!payload.success) {
    throw new EmpError('PAYLOAD_INVALID', {
      detail: payload.error.issues.map((issue) => `/${issue.path.join('/')}: ${issue.message}`).join('; '),
    });
  }
  const outDir = `${folder}/out`;
  await ports.disk.makeFolder(outDir);
  signal.throwIfAborted();
  const run: ConnectorRun = {
    jobId: assignment.jobId,
    token: assignment.token,
    payload: payload.data,
    inputs,
    models,
    outDir,
    signal,
    progress,
  };
  const result = await connector.run(run);
  checkResult(result, outDir);
  return result;
}

/**
 * What a connector answers is judged like any other input: it may run code that we did not write.
 * Throws `CONNECTOR_FAILED`, or `JOB_FAILED` for facts that no hub takes.
 */
export function checkResult({ outputs, data }: ConnectorResult, outDir: string): void {
  const refuse = (detail: string) => new EmpError('CONNECTOR_FAILED', { detail, retryable: false });
  if (outputs.length > outputsLimit)
    throw refuse(`the service named ${outputs.length} outputs, at most ${outputsLimit} are taken`);
  if (new Set(outputs.map((output) => output.name)).size < outputs.length)
    throw refuse('the service gave two outputs the same name');
  for (const { name, path } of outputs) {
    if (!FileName.safeParse(name).success)
      throw refuse(`the output name ${JSON.stringify(name)} is no file name`);
    if (!path.startsWith(`${outDir}/`) || path.split('/').includes('..'))
      throw refuse(`output ${name} does not lie in the folder of the run`);
  }
  const bytes = Buffer.byteLength(JSON.stringify(data ?? null));
  if (bytes > dataLimitBytes) {
    throw new EmpError('JOB_FAILED', {
      detail: `the data of the result is ${bytes} bytes, the limit is ${dataLimitBytes}: put it in an output file`,
    });
  }
}

async function uploadAll(
  ports: JobRunPorts,
  options: { assignment: Assignment; outputs: ConnectorOutput[]; signal: AbortSignal },
): Promise<JobOutput[]> {
  const { assignment, signal } = options;
  const files: { name: string; path: string; mime: string; bytes: number; sha256: string }[] = [];
  for (const output of options.outputs) {
    const hashed = await hashFile(ports.disk, output.path);
    if (hashed === null)
      throw new EmpError('OUTPUT_MISSING', {
        detail: `the service named output ${output.name} and wrote no such file`,
      });
    files.push({ ...output, ...hashed });
  }
  const asked = files.map(({ path: _, ...file }) => file);
  const signed = await ports.link.request(
    'sign',
    { what: 'results', jobId: assignment.jobId, token: assignment.token, files: asked },
    { deadlineMs: ports.requestMs, signal },
  );
  if (signed.kind === 'refused')
    throw new EmpError(signed.error.code, {
      detail: signed.error.message,
      retryable: signed.error.retryable,
    });
  const done: JobOutput[] = [];
  for (const [index, { path, ...file }] of files.entries()) {
    const place = signed.files[index];
    if (place === undefined)
      throw new EmpError('OUTPUT_MISSING', { detail: `the hub signed no URL for output ${file.name}` });
    await ofStore('OUTPUT_MISSING', () =>
      upload(ports, { url: place.urls[0] as string, path, ...file, signal }),
    );
    done.push({ ...file, object: place.object });
  }
  return done;
}

/** Calls `fn` at once, and then at most once in `everyMs`. */
function atMostEvery(clock: Clock, everyMs: number, fn: () => void): () => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.monotonic();
    if (nowMs - lastMs < everyMs) return;
    lastMs = nowMs;
    fn();
  };
}

/** Progress of a run: a sign of life for its chart, and news for whoever follows the job. */
function progressTo(options: {
  assignment: Assignment;
  report: (event: ReporterEvent) => void;
  alive: () => void;
}): (progress: RunProgress) => void {
  const { jobId, token } = options.assignment;
  let highest = 0;
  return ({ fraction, message, preview }) => {
    highest = Math.max(highest, Math.min(1, Number.isFinite(fraction) ? fraction : 0));
    options.alive();
    options.report({
      type: 'progress',
      jobId,
      token,
      fraction: highest,
      message: message?.slice(0, 500) ?? null,
    });
    if (preview === undefined || preview.bytes.byteLength > previewLimitBytes) return;
    options.report({
      type: 'preview',
      jobId,
      token,
      mime: preview.mime.slice(0, 64),
      base64: Buffer.from(preview.bytes).toString('base64'),
    });
  };
}
