import { describe, expect, onTestFinished, test } from 'vitest';
import { type HealthCheck, serveHealth } from './health.ts';

async function setup() {
  const state: Record<'live' | 'started' | 'ready', HealthCheck> = {
    live: { ok: true, reasons: [] },
    started: { ok: true, reasons: [] },
    ready: { ok: true, reasons: [] },
  };
  const server = await serveHealth({
    host: '127.0.0.1',
    port: 0,
    source: {
      live: () => state.live,
      started: () => state.started,
      ready: () => state.ready,
      verbose: () => ({ actors: 7 }),
    },
  });
  onTestFinished(() => server.close());
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`${server.url}${path}`, { method });
    const text = await response.text();
    return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
  };
  return { server, state, ask };
}

describe('health', () => {
  test('each question is answered for itself', async () => {
    const { ask, state } = await setup();
    state.ready = { ok: false, reasons: ['the machine is draining'] };
    expect(await ask('/livez')).toEqual({ status: 200, body: { ok: true, reasons: [] } });
    expect(await ask('/startupz')).toMatchObject({ status: 200 });
    expect(await ask('/readyz')).toEqual({
      status: 503,
      body: { ok: false, reasons: ['the machine is draining'] },
    });
  });

  test('verbose adds the detail, HEAD leaves out the body', async () => {
    const { ask } = await setup();
    expect(await ask('/livez?verbose')).toMatchObject({ body: { actors: 7 } });
    expect(await ask('/readyz', 'HEAD')).toEqual({ status: 200, body: null });
  });

  test('other paths and methods are refused', async () => {
    const { ask } = await setup();
    expect(await ask('/')).toMatchObject({ status: 404 });
    expect(await ask('/livez', 'POST')).toMatchObject({ status: 405 });
  });

  test('a port that is taken is a problem of the configuration, by name', async () => {
    const { server } = await setup();
    const port = Number(new URL(server.url).port);
    const source = {
      live: () => ({ ok: true, reasons: [] }),
      started: () => ({ ok: true, reasons: [] }),
      ready: () => ({ ok: true, reasons: [] }),
      verbose: () => ({}),
    };
    await expect(serveHealth({ host: '127.0.0.1', port, source })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('EMP_HEALTH_PORT'),
    });
  });
});
