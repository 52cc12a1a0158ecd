import { z } from 'zod';
import { EmpError } from '#protocol/errors.ts';
import { ModelManifest, modelObjectKey, Sha256 } from '#protocol/model.ts';
import { CustomerName, FileName, MachineId, ModelId, PoolName, ServiceName } from '#protocol/names.ts';
import { signedUrlLimitMs } from '#protocol/objects.ts';
import type { Hub } from '#runtime/hub/hub.ts';
import { unknownNames } from '#runtime/hub/known-names.ts';
import { cordonMachine, drainMachine, getMachine, listMachines } from '#runtime/hub/machines.ts';
import { pauseWork, resumeWork } from '#runtime/hub/pauses.ts';
import { joinTokenDefaultMs, joinTokenLimitMs } from '#runtime/hub/tokens.ts';
import type { HttpApp } from './http-app.ts';
import {
  baseUrlOf,
  Flag,
  parseBody,
  parseNewPath,
  parsePath,
  parseQuery,
  warningsOf,
} from './request-checks.ts';

const MachinePath = z.strictObject({ id: MachineId });
const ModelPath = z.strictObject({ id: ModelId });
const ModelFilePath = z.strictObject({ id: ModelId, name: FileName });
const ListQuery = z.strictObject({ all: Flag.default(false) });
const DrainBody = z.strictObject({
  deadlineMs: z.int().min(0).max(86_400_000).optional(),
  reason: z.string().min(1).max(200).optional(),
});
const PausePath = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('pool'), name: PoolName }),
  z.strictObject({ kind: z.literal('service'), name: ServiceName }),
  z.strictObject({ kind: z.literal('customer'), name: CustomerName }),
]);
/** Another kind is another path; a name of no form is a wrong name of this one. */
const PauseKindPath = z.looseObject({ kind: z.enum(['pool', 'service', 'customer']) });
const PauseBody = z.strictObject({ reason: z.string().max(200).default('') });
const Nothing = z.strictObject({});
const JoinTokenBody = z.strictObject({
  ttlMs: z.int().min(1_000).max(joinTokenLimitMs).default(joinTokenDefaultMs),
});
const UploadBody = z.strictObject({
  name: FileName,
  mime: z
    .string()
    .max(128)
    .regex(/^[\w.+-]+\/[\w.+-]+$/, 'a mime type has the form type/subtype'),
  bytes: z.int().min(0).optional(),
  sha256: Sha256.optional(),
});

/** Machines, pauses, models, uploads and join tokens. */
export function fleetRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/machines', async (request) => ({
    items: await listMachines(hub, parseQuery(ListQuery, request)),
  }));
  app.get('/v1/machines/:id', async (request) => await getMachine(hub, parsePath(MachinePath, request).id));
  app.post('/v1/machines/:id/drain', async (request, reply) => {
    const { id } = parsePath(MachinePath, request);
    const machine = await drainMachine(hub, id, parseBody(DrainBody, request));
    reply.code(202);
    return { machine };
  });
  for (const [verb, cordoned] of [
    ['cordon', true],
    ['uncordon', false],
  ] as const) {
    app.post(`/v1/machines/:id/${verb}`, async (request, reply) => {
      const { id } = parsePath(MachinePath, request);
      parseBody(Nothing, request);
      const machine = await cordonMachine(hub, id, cordoned);
      reply.code(202);
      return { machine };
    });
  }
  app.post('/v1/join-tokens', async (request, reply) => {
    const { ttlMs } = parseBody(JoinTokenBody, request);
    reply.code(201).header('cache-control', 'no-store');
    return hub.tokens.join({ id: hub.env.newId('join'), nowMs: hub.env.clock.now(), ttlMs });
  });
  pauseRoutes(app, hub);
  modelRoutes(app, hub);
  uploadRoutes(app, hub);
}

function pauseRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/pauses', async () => ({ items: await hub.records.listPauses() }));
  app.put('/v1/pauses/:kind/:name', async (request) => {
    const { reason } = parseBody(PauseBody, request);
    parsePath(PauseKindPath, request);
    const { kind, name } = parseNewPath(PausePath, request);
    const pause = await pauseWork(hub, { kind, name, reason, actor: 'operator' });
    return { pause, ...warningsOf(await unknownNames(hub, { [kind]: name })) };
  });
  app.delete('/v1/pauses/:kind/:name', async (request) => {
    const { kind, name } = parsePath(PausePath, request);
    await resumeWork(hub, { kind, name, actor: 'operator' });
    return { resumed: { kind, name } };
  });
}

function modelRoutes(app: HttpApp, hub: Hub): void {
  app.get('/v1/models', async () => ({ items: await hub.models.list() }));
  app.get('/v1/models/:id', async (request) => await mustGetModel(hub, parsePath(ModelPath, request).id));
  app.put('/v1/models/:id', async (request) => {
    const { id } = parseNewPath(ModelPath, request);
    const manifest = parseBody(ModelManifest, request);
    if (manifest.id !== id) {
      const detail = `the manifest is of ${manifest.id}, the path names ${id}`;
      throw new EmpError('VALIDATION_FAILED', { detail, errors: [{ pointer: '/id', detail }] });
    }
    await hub.models.put(manifest);
    hub.poke.recorder();
    return manifest;
  });
  app.post('/v1/models/:id/files/:name', async (request, reply) => {
    const { id, name } = parsePath(ModelFilePath, request);
    parseBody(Nothing, request);
    const manifest = await mustGetModel(hub, id);
    const file = manifest.files.find((each) => each.name === name);
    if (file === undefined) {
      const names = manifest.files.map((each) => each.name).join(', ');
      throw new EmpError('NOT_FOUND', { detail: `The model ${id} has no file ${name}; its files: ${names}` });
    }
    const object = modelObjectKey(file);
    const url = await hub.objects.signPut({
      key: object,
      bytes: file.bytes,
      sha256: file.sha256,
      limitBytes: file.bytes,
      mime: 'application/octet-stream',
      expiresInMs: signedUrlLimitMs,
      baseUrl: baseUrlOf(request.raw.headers),
    });
    const stored = (await hub.objects.head(object)) !== null;
    reply.code(201).header('cache-control', 'no-store');
    return { object, url, expiresInMs: signedUrlLimitMs, stored };
  });
}

async function mustGetModel(hub: Hub, modelId: string): Promise<ModelManifest> {
  const manifest = await hub.models.get(modelId);
  if (manifest === null) throw new EmpError('NOT_FOUND', { detail: `No model ${modelId} is registered` });
  return manifest;
}

function uploadRoutes(app: HttpApp, hub: Hub): void {
  app.post('/v1/uploads', async (request, reply) => {
    const { name, mime, bytes = null, sha256 = null } = parseBody(UploadBody, request);
    const { uploadLimitBytes } = hub.config;
    if (bytes !== null && bytes > uploadLimitBytes) {
      const detail = `a file may have ${uploadLimitBytes} bytes`;
      throw new EmpError('BODY_TOO_LARGE', { detail, errors: [{ pointer: '/bytes', detail }] });
    }
    const object = `uploads/${hub.env.newId('up')}/${name}`;
    const url = await hub.objects.signPut({
      key: object,
      bytes,
      sha256,
      mime,
      limitBytes: bytes ?? uploadLimitBytes,
      expiresInMs: signedUrlLimitMs,
      baseUrl: baseUrlOf(request.raw.headers),
    });
    reply.code(201).header('cache-control', 'no-store');
    return { object, url, expiresInMs: signedUrlLimitMs };
  });
}
