import { hash } from 'node:crypto';
import type { ServiceSpec } from '#protocol/connector.ts';
import { EmpError, type ErrorCode, type FieldError } from '#protocol/errors.ts';
import { JobSubmission } from '#protocol/job.ts';
import { canonicalJson, fitsAsJson, type JsonObject, jsonBytes } from '#protocol/json.ts';
import { type Translated, translateLegacy } from '#protocol/legacy-requirements.ts';
import { frameLimitBytes } from '#protocol/link.ts';
import type { NewJob } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import { newTraceparent } from '#protocol/trace.ts';
import type { Hub } from './hub.ts';
import { placeJob } from './place-job.ts';
import { checkDepth, fieldErrors, jsonPointer, summary } from './problem.ts';

/** A submission that was judged: the row to store, its group, and what is worth a word to the submitter. */
export interface PreparedJob {
  row: NewJob;
  groupId: string;
  group: Group;
  /** Classes that may run it; empty when no machine has ever joined. */
  classIds: string[];
  warnings: string[];
  /** The client chose the id: the same id again is a repeat. */
  named: boolean;
}

/** Folders of the object store that a job may read: uploads of clients and results of other jobs. */
const inputPrefixes = ['uploads/', 'results/'];
/** Names joined by slashes: no empty part, none that begins with a dot. */
const objectForm = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)+$/;

/**
 * Judges one submission by everything that can be known before it is stored: form, payload, inputs,
 * models, requirements. Throws the code that docs/errors.md explains, with a pointer for every wrong
 * field at once; `prefix` is the pointer of the submission in its request.
 */
export async function prepareJob(
  hub: Hub,
  document: unknown,
  options: {
    prefix: string;
    traceparent: string | null /** Only asked what would happen: files may follow. */;
    dryRun?: true;
  },
): Promise<PreparedJob> {
  const { prefix } = options;
  checkDepth(document, prefix);
  const translated = translateLegacy(document);
  const submission = readSubmission(translated, prefix);
  const spec = hub.services.get(submission.service) ?? null;
  const payload = spec === null ? submission.payload : checkPayload(spec, submission, prefix);
  checkSize(payload, prefix);
  const missing = spec === null ? null : inputCountFault(spec, submission);
  if (missing !== null && options.dryRun !== true)
    refuse('INPUT_INVALID', [{ pointer: `${prefix}/inputs`, detail: missing }]);
  const contents = await checkInputs(hub, submission, prefix);
  const models = await checkModels(hub, {
    service: submission.service,
    named: [
      ...(spec?.models(payload) ?? []).map((modelId) => ({ modelId, pointer: `${prefix}/payload` })),
      ...translated.models.map(({ modelId, path }) => ({ modelId, pointer: jsonPointer(path, prefix) })),
    ],
  });
  const expectedMs =
    submission.expectedMs ?? (spec === null ? hub.config.expectedMsDefault : expectedMsOf(spec, payload));
  const found = await placeJob(hub, { submission, expectedMs, prefix, origins: translated.origins });
  const nowMs = hub.env.clock.now();
  const notBeforeMs = submission.notBefore === undefined ? null : Date.parse(submission.notBefore);
  const due = notBeforeMs === null || notBeforeMs <= nowMs;
  const row: NewJob = {
    id: submission.id ?? hub.env.newId('job'),
    service: submission.service,
    pool: found.group.pool,
    group: found.groupId,
    affinity: models[0] ?? '-',
    models,
    priority: submission.priority,
    customer: submission.customer,
    expectedMs,
    maxRunMs: submission.maxRunMs,
    maxAttempts: submission.maxAttempts,
    payload,
    inputs: submission.inputs,
    requirements: found.requirements,
    labels: submission.labels,
    traceparent: submission.traceparent ?? options.traceparent ?? newTraceparent(hub.env.rng),
    notBeforeMs: due ? null : notBeforeMs,
    expiresAtMs: submission.ttlMs === undefined ? null : nowMs + submission.ttlMs,
    limited: false,
    preemptible: submission.preemptible,
    state: due ? 'waiting' : 'scheduled',
    fingerprint: fingerprint(submission, contents),
  };
  const warnings = missing === null ? found.warnings : [...found.warnings, missing];
  const { groupId, group, classIds } = found;
  return { row, named: submission.id !== undefined, groupId, group, classIds, warnings };
}

/** The submission in our form, or every wrong field of both forms by where the client wrote it. */
function readSubmission({ document, error }: Translated, prefix: string): JobSubmission {
  const parsed = JobSubmission.safeParse(document);
  if (parsed.success && error === null) return parsed.data;
  const errors = [parsed.error, error].flatMap((each) => (each ? fieldErrors(each, prefix) : []));
  throw new EmpError('VALIDATION_FAILED', { detail: summary('The job', errors), errors });
}

/**
 * Equal submissions give equal text. The trace is left out, because a retry has another one, and a file
 * counts by its content (`contents`, SHA-256 per input), because a retry uploads it under another key.
 * What came to the form later is left out where it says nothing, or a repeat across an upgrade would differ.
 */
function fingerprint(submission: JobSubmission, contents: string[]): string {
  const { traceparent: _, preemptible, ...rest } = submission;
  const inputs = rest.inputs.map(({ name }, index) => ({ name, sha256: contents[index] ?? null }));
  return hash(
    'sha256',
    canonicalJson({ ...rest, ...(preemptible && { preemptible }), inputs } as JsonObject),
  );
}

function checkPayload(spec: ServiceSpec, submission: JobSubmission, prefix: string): JsonObject {
  const parsed = spec.payload.safeParse(submission.payload);
  if (parsed.success) return parsed.data;
  const errors = fieldErrors(parsed.error, `${prefix}/payload`);
  throw new EmpError('PAYLOAD_INVALID', {
    detail: summary(`The payload for ${spec.service}`, errors),
    errors,
  });
}

/** An assignment travels in one frame of the link, whose limit is below that of a request. */
const payloadLimitBytes = frameLimitBytes - 32_768;

function checkSize(payload: JsonObject, prefix: string): void {
  if (fitsAsJson(payload, payloadLimitBytes)) return;
  const detail = `the payload is ${jsonBytes(payload)} bytes, the limit is ${payloadLimitBytes}: upload large data with POST /v1/uploads and name it in inputs`;
  refuse('BODY_TOO_LARGE', [{ pointer: `${prefix}/payload`, detail }]);
}

/** A prior of a connector may be fractional or below 1 ms; rows hold whole ms. */
function expectedMsOf(spec: ServiceSpec, payload: JsonObject): number {
  return Math.min(86_400_000, Math.max(1, Math.round(spec.expectedMs(payload))));
}

function refuse(code: ErrorCode, errors: FieldError[]): never {
  throw new EmpError(code, { detail: errors.map((error) => error.detail).join('; '), errors });
}

/** What is wrong with the number of files, null if it fits. */
function inputCountFault(spec: ServiceSpec, submission: JobSubmission): string | null {
  const { min, max } = spec.inputs;
  const given = submission.inputs.length;
  if (given >= min && given <= max) return null;
  const wanted = min === max ? `${min}` : `${min} to ${max}`;
  return `${spec.service} takes ${wanted} input file(s), ${given} given`;
}

/** SHA-256 of every input, in order. */
async function checkInputs(hub: Hub, submission: JobSubmission, prefix: string): Promise<string[]> {
  const names = new Set<string>();
  const errors: FieldError[] = [];
  const contents: string[] = [];
  for (const [index, { name, object }] of submission.inputs.entries()) {
    const at = `${prefix}/inputs/${index}`;
    if (names.has(name)) errors.push({ pointer: `${at}/name`, detail: `the name ${name} is used twice` });
    names.add(name);
    const found = await findInput(hub, object);
    if ('fault' in found) errors.push({ pointer: `${at}/object`, detail: found.fault });
    else contents.push(found.sha256);
  }
  if (errors.length > 0) refuse('INPUT_INVALID', errors);
  return contents;
}

async function findInput(hub: Hub, object: string): Promise<{ sha256: string } | { fault: string }> {
  if (!inputPrefixes.some((folder) => object.startsWith(folder)) || !objectForm.test(object)) {
    return { fault: 'an input is the `object` that POST /v1/uploads answered, or an output of another job' };
  }
  const stored = await hub.objects.head(object);
  if (stored !== null) return { sha256: stored.sha256 };
  return {
    fault: 'nothing is stored under this key yet: PUT the bytes to the URL of POST /v1/uploads first',
  };
}

/** The models that a job names, each once; refuses those that are not registered. */
async function checkModels(
  hub: Hub,
  { service, named }: { service: string; named: { modelId: string; pointer: string }[] },
): Promise<string[]> {
  const models = [...new Set(named.map(({ modelId }) => modelId))];
  const missing = new Set<string>();
  for (const modelId of models) if ((await hub.models.get(modelId)) === null) missing.add(modelId);
  if (missing.size === 0) return models;
  const known = (await hub.models.list())
    .filter((model) => model.service === service)
    .map((model) => model.id);
  const list = known.length > 0 ? known.slice(0, 20).join(', ') : 'none';
  refuse(
    'UNKNOWN_MODEL',
    named
      .filter(({ modelId }) => missing.has(modelId))
      .map(({ modelId, pointer }) => ({
        pointer,
        detail: `the model ${modelId} is not registered (registered for ${service}: ${list}); register it with PUT /v1/models/${modelId}`,
      })),
  );
}
