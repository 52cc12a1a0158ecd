import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify';
import type { Env } from '#protocol/env.ts';
import { EmpError, ERROR_CODES, toEmpError } from '#protocol/errors.ts';
import { requestLimitBytes } from '#protocol/job.ts';
import { toProblem } from '#runtime/hub/problem.ts';
import { checkOrigin, traceIdOf } from './request-checks.ts';

const requestIdForm = /^[A-Za-z0-9._-]{1,128}$/;
/** A request that is not complete by then is cut off, ms: uploads of models take long, headers have a shorter limit of their own. */
const requestLimitMs = 3_600_000;

export type HttpApp = FastifyInstance;

/**
 * The HTTP face without routes: ids, origin checks, and one way to fail. Every error is
 * `application/problem+json` with a code of ERROR_CODES; fastify's own are translated.
 */
export function httpApp(env: Env): { app: HttpApp; routes: readonly Route[] } {
  const app = fastify({
    logger: false,
    bodyLimit: requestLimitBytes,
    forceCloseConnections: true,
    requestTimeout: requestLimitMs,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 512 },
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && requestIdForm.test(given) ? given : env.newId('req');
    },
    // Malformed percent encoding in the path never reaches a route.
    frameworkErrors: (error, request, reply) =>
      sendProblem({ env, error, request: request as FastifyRequest, reply: reply as FastifyReply }),
    clientErrorHandler: (error, socket) => {
      env.log.info('http.malformed', { detail: error.message });
      if (socket.writable)
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    },
  });
  // Only JSON is read: a form that a foreign page posts does not get past here.
  app.removeContentTypeParser('text/plain');
  const routes = routePatterns(app);
  // Told by a call, not by a promise: every request passes here.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    checkOrigin(request.raw.headers);
    done();
  });
  app.setErrorHandler((error, request, reply) => sendProblem({ env, error, request, reply }));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = [
      ...new Set(routes.filter((route) => route.form.test(path)).map((route) => route.method)),
    ].sort();
    if (methods.length > 0) reply.header('allow', methods.join(', '));
    const error =
      methods.length > 0
        ? new EmpError('METHOD_NOT_ALLOWED', {
            detail: `${path} takes ${methods.join(', ')}, not ${request.method}`,
          })
        : new EmpError('NOT_FOUND', { detail: `This hub has no path ${path}: docs/api.md lists them` });
    return sendProblem({ env, error, request, reply });
  });
  return { app, routes };
}

/** One method of one path, as they were added. */
export interface Route {
  method: string;
  path: string;
  form: RegExp;
}

function routePatterns(app: HttpApp): Route[] {
  const routes: Route[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const escaped = url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:[^/]+/g, '[^/]+')
      .replaceAll('*', '.*');
    for (const each of [method].flat())
      routes.push({ method: each, path: url, form: new RegExp(`^${escaped}$`) });
  });
  return routes;
}

function sendProblem(options: {
  env: Env;
  error: unknown;
  request: FastifyRequest;
  reply: FastifyReply;
}): FastifyReply {
  const { env, request, reply } = options;
  const error = translate(options.error);
  const { status } = ERROR_CODES[error.code];
  if (status >= 500) {
    const cause = error.cause instanceof Error ? (error.cause.stack ?? null) : (error.stack ?? null);
    env.log.error('http.failed', {
      requestId: request.id,
      method: request.method,
      code: error.code,
      detail: error.message,
      cause,
    });
  }
  // A request with a malformed path has met no hook.
  reply.header('x-request-id', request.id);
  if (error.retryable && (status === 503 || status === 429)) reply.header('retry-after', '1');
  const problem = toProblem(error, {
    instance: request.url.split('?')[0] ?? null,
    traceId: traceIdOf(request.raw.headers),
  });
  return reply.code(status).type('application/problem+json').send(JSON.stringify(problem));
}

/** Fastify's errors by their code; anything unknown is ours and a bug. */
function translate(error: unknown): EmpError {
  if (error instanceof EmpError) return error;
  const { code = '', message = '', statusCode } = error as Partial<FastifyError>;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new EmpError('BODY_TOO_LARGE', {
        detail: `The body is over ${requestLimitBytes} bytes: upload large data with POST /v1/uploads`,
      });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new EmpError('VALIDATION_FAILED', {
        detail: 'Send the body as JSON with content-type: application/json',
      });
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new EmpError('VALIDATION_FAILED', {
        detail: 'The body is empty: send a JSON document, or no content-type',
      });
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new EmpError('VALIDATION_FAILED', {
        detail: 'The body does not have the length that content-length says',
      });
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new EmpError('NOT_FOUND', {
        detail: 'Nothing has so long a name: ids have at most 128 characters',
      });
    case 'FST_ERR_BAD_URL':
      return new EmpError('VALIDATION_FAILED', { detail: 'The path has a malformed percent encoding' });
    default:
      if (statusCode === 400)
        return new EmpError('VALIDATION_FAILED', { detail: `The body is not JSON: ${message}` });
      return toEmpError(error);
  }
}
