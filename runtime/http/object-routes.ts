import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FolderObjects } from '#protocol/objects/folder.ts';
import { toProblem } from '#runtime/hub/problem.ts';
import type { HttpApp } from './http-app.ts';
import { traceIdOf } from './request-checks.ts';

/** Serves the signed URLs of the folder store: whoever holds one may do what it says, nothing else. */
export function objectRoutes(app: HttpApp, objects: FolderObjects): void {
  // Bodies here are bytes of any type and size: the store reads the stream and judges it.
  app.register((scope, _options, registered) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.route({
      method: ['GET', 'HEAD'],
      url: '/objects/*',
      handler: (request, reply) => get(objects, request, reply),
    });
    scope.put('/objects/*', { bodyLimit: Number.MAX_SAFE_INTEGER }, (request, reply) =>
      put(objects, request, reply),
    );
    registered();
  });
}

async function get(
  objects: FolderObjects,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const answer = await objects.openSignedGet(request.url, request.headers.range);
  if (answer.kind === 'refused') return refuse(request, reply, answer);
  reply.code(answer.status).headers(answer.headers);
  if (request.method === 'HEAD') return reply.send();
  return reply.send(Readable.from(answer.body, { objectMode: false }));
}

async function put(
  objects: FolderObjects,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const body = (request.body ?? Readable.from([])) as AsyncIterable<Uint8Array>;
  const answer = await objects.acceptSignedPut(request.url, body, request.headers);
  if (answer.kind === 'refused') {
    // The rest of the body is not read: the connection cannot be used again.
    reply.header('connection', 'close');
    return refuse(request, reply, answer);
  }
  return reply.code(answer.created ? 201 : 200).send({ object: answer.info });
}

type Refusal = Extract<Awaited<ReturnType<FolderObjects['openSignedGet']>>, { kind: 'refused' }>;

function refuse(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
  const instance = request.url.split('?')[0] ?? null;
  const problem = toProblem(refusal.error, { instance, traceId: traceIdOf(request.raw.headers) });
  return reply
    .code(refusal.status)
    .headers(refusal.headers)
    .type('application/problem+json')
    .send(JSON.stringify({ ...problem, status: refusal.status }));
}
