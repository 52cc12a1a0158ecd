import type { ErrorCode } from '#protocol/errors.ts';
import { ERROR_CODES } from '#protocol/errors.ts';
import { resultObjectKey } from '#protocol/job.ts';
import type { LinkAnswer, LinkBody } from '#protocol/link.ts';
import { modelObjectKey } from '#protocol/model.ts';
import { signedUrlLimitMs } from '#protocol/objects.ts';
import { holdsLease } from './holder.ts';
import type { Hub } from './hub.ts';
import type { MachineLink } from './links.ts';

type SignAnswer = LinkAnswer<'sign'>;
type SignedFile = Extract<SignAnswer, { kind: 'signed' }>['files'][number];
type Body<W extends LinkBody<'sign'>['what']> = Extract<LinkBody<'sign'>, { what: W }>;

/** URLs for the inputs and results of a job that this incarnation holds, or for a registered model. */
export async function signFor(hub: Hub, machine: MachineLink, body: LinkBody<'sign'>): Promise<SignAnswer> {
  if (body.what === 'model') return await signModel(hub, machine, body);
  const held = await holdsLease(hub, machine, body);
  if (held.kind !== 'holder')
    return refused(
      'LEASE_LOST',
      `job ${body.jobId} is not held by this incarnation with token ${body.token}`,
    );
  return body.what === 'inputs'
    ? await signInputs(hub, machine, body)
    : await signResults(hub, machine, body);
}

function refused(code: ErrorCode, message: string): SignAnswer {
  return { kind: 'refused', error: { code, message, retryable: ERROR_CODES[code].retryable } };
}

async function signInputs(hub: Hub, machine: MachineLink, body: Body<'inputs'>): Promise<SignAnswer> {
  const job = await hub.records.getJob(body.jobId);
  if (job === null) return refused('NOT_FOUND', `no job ${body.jobId} is known`);
  const files: SignedFile[] = [];
  for (const { name, object } of job.inputs) {
    const stored = await hub.objects.head(object);
    if (stored === null)
      return refused('INPUT_UNAVAILABLE', `the input ${name} is no longer stored under ${object}`);
    const url = await hub.objects.signGet({
      key: object,
      expiresInMs: signedUrlLimitMs,
      baseUrl: machine.baseUrl,
    });
    files.push({ name, object, urls: [url], bytes: stored.bytes, sha256: stored.sha256, mime: stored.mime });
  }
  return { kind: 'signed', files, manifest: null };
}

/** An upload must have exactly the size and hash that were named; it is invisible until complete lists it. */
async function signResults(hub: Hub, machine: MachineLink, body: Body<'results'>): Promise<SignAnswer> {
  const files: SignedFile[] = [];
  for (const { name, bytes, sha256, mime } of body.files) {
    const key = resultObjectKey({ jobId: body.jobId, token: body.token, name });
    const url = await hub.objects.signPut({
      key,
      bytes,
      sha256,
      mime,
      limitBytes: bytes,
      expiresInMs: signedUrlLimitMs,
      baseUrl: machine.baseUrl,
    });
    files.push({ name, object: key, urls: [url], bytes, sha256, mime });
  }
  return { kind: 'signed', files, manifest: null };
}

/** Per file the object store first, where it has the file, then the sources that the manifest names. */
async function signModel(hub: Hub, machine: MachineLink, body: Body<'model'>): Promise<SignAnswer> {
  const manifest = await hub.models.get(body.modelId);
  if (manifest === null) return refused('UNKNOWN_MODEL', `the model ${body.modelId} is not registered`);
  const files: SignedFile[] = [];
  for (const file of manifest.files) {
    const key = modelObjectKey(file);
    const stored = await hub.objects.head(key);
    const own =
      stored === null
        ? []
        : [await hub.objects.signGet({ key, expiresInMs: signedUrlLimitMs, baseUrl: machine.baseUrl })];
    const urls = [...own, ...file.sources];
    if (urls.length === 0) {
      return refused(
        'MODEL_UNAVAILABLE',
        `${file.name} of ${manifest.id} is neither stored nor has it a source: upload it with POST /v1/models/${manifest.id}/files/${file.name}`,
      );
    }
    files.push({
      name: file.name,
      object: key,
      urls,
      bytes: file.bytes,
      sha256: file.sha256,
      mime: 'application/octet-stream',
    });
  }
  return { kind: 'signed', files, manifest };
}
