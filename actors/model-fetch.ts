import type PQueue from 'p-queue';
import { fromPromise } from 'xstate';
import type { ScanResult } from '#machines/model-cache.ts';
import type { SignedModel } from '#machines/model-fetch.ts';
import type { Connector } from '#protocol/connector.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { ModelManifest, modelBytes } from '#protocol/model.ts';
import { ModelId } from '#protocol/names.ts';
import type { LinkClient } from './link-client.ts';
import { download, type TransferPorts } from './transfer.ts';

export interface ModelPorts extends TransferPorts {
  link: Pick<LinkClient, 'request'>;
  /** Folder of all models. */
  folder: string;
  /** Bounds how many models are fetched at once; it keeps no time. */
  queue: PQueue;
  requestMs: number;
}

const manifestName = 'manifest.json';
/** Models on their way: beside the finished ones, on the same file system, so that a rename suffices. */
const partsFolder = '.parts';

const partOf = (folder: string, modelId: string) => `${folder}/${partsFolder}/${modelId}`;

/** Effects of one model in motion. */
export function modelFetchActors(ports: ModelPorts) {
  const { disk, folder } = ports;
  return {
    describe: fromPromise<SignedModel, { modelId: string }>(({ input, signal }) =>
      describe(ports, { ...input, signal }),
    ),
    fetchFile: fromPromise<
      { sha256: string },
      { modelId: string; name: string; bytes: number; url: string; doneBytes: number; totalBytes: number }
    >(({ input, signal, system }) => {
      let tenth = 0;
      const onBytes = (bytes: number) => {
        const fraction = (input.doneBytes + bytes) / input.totalBytes;
        if (Math.floor(fraction * 10) <= tenth) return;
        tenth = Math.floor(fraction * 10);
        (system.get('cache') as { send(event: unknown): void } | undefined)?.send({
          type: 'fetch.progress',
          modelId: input.modelId,
          fraction,
        });
      };
      const fetch = async () => {
        await disk.makeFolder(partOf(folder, input.modelId));
        const path = `${partOf(folder, input.modelId)}/${input.name}`;
        return await download(ports, {
          url: input.url,
          path,
          bytes: input.bytes,
          limitBytes: input.bytes,
          code: 'MODEL_UNAVAILABLE',
          signal,
          onBytes,
        });
      };
      return ports.queue.add(fetch, { signal });
    }),
    discard: fromPromise<void, { modelId: string; name: string | null }>(({ input }) =>
      disk.remove(
        input.name === null
          ? partOf(folder, input.modelId)
          : `${partOf(folder, input.modelId)}/${input.name}`,
      ),
    ),
    publish: fromPromise<void, { manifest: ModelManifest }>(async ({ input }) => {
      const part = partOf(folder, input.manifest.id);
      const target = `${folder}/${input.manifest.id}`;
      await disk.writeText(`${part}/${manifestName}`, JSON.stringify(input.manifest));
      await disk.remove(target);
      await disk.rename(part, target);
    }),
  };
}

async function describe(
  ports: ModelPorts,
  { modelId, signal }: { modelId: string; signal: AbortSignal },
): Promise<SignedModel> {
  const answer = await ports.link.request(
    'sign',
    { what: 'model', modelId },
    { deadlineMs: ports.requestMs, signal },
  );
  if (answer.kind === 'refused')
    throw new EmpError(answer.error.code, {
      detail: answer.error.message,
      retryable: answer.error.retryable,
    });
  const { manifest } = answer;
  if (manifest === null || manifest.id !== modelId)
    throw new EmpError('MODEL_UNAVAILABLE', { detail: `the hub described another model than ${modelId}` });
  const files = manifest.files.map((file) => {
    const signed = answer.files.find((candidate) => candidate.name === file.name);
    return {
      name: file.name,
      bytes: file.bytes,
      sha256: file.sha256,
      urls: [...new Set([...(signed?.urls ?? []), ...file.sources])],
    };
  });
  const bare = files.find((file) => file.urls.length === 0);
  if (bare !== undefined)
    throw new EmpError('MODEL_UNAVAILABLE', { detail: `model ${modelId}: nobody offers ${bare.name}` });
  return { manifest, files };
}

/** Effects of the cache: what is on disk, how much room there is, and eviction. */
export function modelCacheActors(
  ports: Pick<ModelPorts, 'disk' | 'folder'> & { connectors: ReadonlyMap<string, Connector> },
) {
  const { disk, folder } = ports;
  return {
    scan: fromPromise<ScanResult, { folder: string }>(async () => {
      await disk.makeFolder(folder);
      // Parts of an earlier process count nowhere: they would fill the disk unseen.
      await disk.remove(`${folder}/${partsFolder}`);
      const names = (await disk.list(folder)).filter(
        (entry) => entry.kind === 'folder' && ModelId.safeParse(entry.name).success,
      );
      const models: ScanResult['models'] = [];
      for (const { name } of names) {
        const bytes = await modelOnDisk(ports, name);
        if (bytes === null) await disk.remove(`${folder}/${name}`);
        else models.push({ modelId: name, bytes });
      }
      return { models, freeBytes: await disk.freeBytes(folder) };
    }),
    measure: fromPromise<{ freeBytes: number }, { folder: string }>(async () => ({
      freeBytes: await disk.freeBytes(folder),
    })),
    evict: fromPromise<void, { modelId: string }>(async ({ input }) => {
      // Out of memory first: a service that still maps the files would keep their bytes on disk.
      for (const connector of ports.connectors.values()) await connector.evict(input.modelId);
      await disk.remove(`${folder}/${input.modelId}`);
    }),
  };
}

/** Bytes of a model that is there as its manifest says, else null: it is then fetched anew. */
async function modelOnDisk(
  { disk, folder }: Pick<ModelPorts, 'disk' | 'folder'>,
  modelId: string,
): Promise<number | null> {
  const text = await disk.readText(`${folder}/${modelId}/${manifestName}`);
  if (text === null) return null;
  const parsed = ModelManifest.safeParse(parseJson(text));
  if (!parsed.success || parsed.data.id !== modelId) return null;
  for (const file of parsed.data.files) {
    if ((await disk.fileBytes(`${folder}/${modelId}/${file.name}`)) !== file.bytes) return null;
  }
  return modelBytes(parsed.data);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return toEmpError(error);
  }
}
