import { describe, expect, test } from 'vitest';
import { frameLimitBytes } from '#protocol/link.ts';
import type { PeerHandlers } from '#protocol/peer.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { LinkClient } from './link-client.ts';

const machine = {
  machineId: 'm1',
  incarnation: null,
  machineClass: {
    pool: 'standard',
    services: [{ service: 'simulation', version: '1', slots: 1 }],
    vramMb: 0,
    ramMb: 1,
    diskMb: 1,
    cpuCores: 1,
    tags: [],
    region: null,
  },
  software: 'test',
};
const welcome = {
  kind: 'welcome',
  incarnation: 1,
  machineToken: 'machine',
  leaseTtlMs: 30_000,
  beatMs: 5_000,
  cordoned: false,
  hubId: 'hub-1',
};

function setup() {
  const env = simEnv({ seed: 1 });
  const dials: { token: string; handlers: PeerHandlers; aborted: boolean }[] = [];
  const sent: Record<string, unknown>[] = [];
  const letters: string[] = [];
  const closes: number[] = [];
  const notices: unknown[] = [];
  let accepts = true;
  const client = new LinkClient({
    clock: env.clock,
    log: env.log,
    joinToken: 'join',
    onDeadLetter: ({ reason, detail }) => letters.push(`${reason}: ${detail}`),
    dialer: {
      dial: ({ token, handlers }) => {
        const dial = { token, handlers, aborted: false };
        dials.push(dial);
        return { abort: () => (dial.aborted = true) };
      },
    },
  });
  const log: string[] = [];
  const connect = () =>
    client.connect({
      url: 'ws://hub',
      opened: () => log.push('opened'),
      closed: ({ code }) => log.push(`closed ${code}`),
      notice: (notice) => notices.push(notice),
    });
  const open = () => {
    const hangUp = connect();
    dials.at(-1)?.handlers.open({
      send: (text) => {
        if (accepts) sent.push(JSON.parse(text));
        return accepts;
      },
      bufferedBytes: () => 7,
      close: (code) => closes.push(code),
    });
    return hangUp;
  };
  /** Opens and is welcomed; what was said for that is not kept. */
  const join = async () => {
    const hangUp = open();
    const hello = client.request('hello', machine, { deadlineMs: 1_000 });
    const { id } = sent.at(-1) as { id: number };
    hear({ v: 1, re: id, body: welcome });
    await hello;
    sent.length = 0;
    return hangUp;
  };
  const hear = (frame: unknown) =>
    dials.at(-1)?.handlers.message(typeof frame === 'string' ? frame : JSON.stringify(frame));
  const cut = (code = 1006) => dials.at(-1)?.handlers.closed({ code, reason: 'cut' });
  const claim = (signal?: AbortSignal) =>
    client.request(
      'claim',
      { requestId: 1, free: [], resident: [] },
      { deadlineMs: 1_000, ...(signal === undefined ? {} : { signal }) },
    );
  return {
    clock: env.clock,
    client,
    dials,
    sent,
    letters,
    closes,
    notices,
    log,
    connect,
    open,
    join,
    hear,
    cut,
    claim,
    refuseSends: () => (accepts = false),
  };
}

describe('link client', () => {
  test('answers find their requests, in any order', async () => {
    const { client, join, hear, claim } = setup();
    await join();
    const first = claim();
    const second = client.request('leave', { reason: 'x' }, { deadlineMs: 1_000 });
    hear({ v: 1, re: 3, body: { kind: 'ok' } });
    hear({ v: 1, re: 2, body: { kind: 'empty' } });
    expect(await first).toEqual({ kind: 'empty' });
    expect(await second).toEqual({ kind: 'ok' });
  });

  test('a request without an answer is refused at its deadline, and the late answer is a dead letter', async () => {
    const { clock, join, hear, claim, letters } = setup();
    await join();
    const refused = expect(claim()).rejects.toMatchObject({ code: 'TIMEOUT' });
    await clock.advanceBy(1_000);
    await refused;
    hear({ v: 1, re: 2, body: { kind: 'empty' } });
    expect(letters).toEqual([expect.stringContaining('unknown-address')]);
  });

  test('before the hub has answered hello nothing else is sent: it would refuse it for good', async () => {
    const { client, open, join, cut, claim, sent } = setup();
    const notice = () => client.notify('incident', { kind: 'x', path: '', detail: '', jobId: null });
    open();
    await expect(claim()).rejects.toMatchObject({ code: 'LINK_CLOSED', retryable: true });
    expect(notice()).toBe(false);
    cut();
    await join();
    expect(notice()).toBe(true);
    cut();
    open();
    await expect(claim()).rejects.toMatchObject({ code: 'LINK_CLOSED' });
    expect(sent).toHaveLength(1);
  });

  test('without a link nothing is sent', async () => {
    const { client, claim } = setup();
    await expect(claim()).rejects.toMatchObject({ code: 'LINK_CLOSED' });
    expect(client.notify('incident', { kind: 'x', path: '', detail: '', jobId: null })).toBe(false);
    expect(client.bufferedBytes()).toBe(0);
  });

  test('the end of the link refuses all that waits, once', async () => {
    const { client, join, cut, claim, log } = setup();
    await join();
    const refused = expect(claim()).rejects.toMatchObject({ code: 'LINK_CLOSED' });
    cut();
    cut();
    await refused;
    expect(log).toEqual(['opened', 'closed 1006']);
    expect(client.open).toBe(false);
  });

  test('a hub’s error is the error of the request', async () => {
    const { join, hear, claim } = setup();
    await join();
    const refused = expect(claim()).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      message: 'redis',
      retryable: true,
    });
    hear({ v: 1, re: 2, error: { code: 'BROKER_UNAVAILABLE', message: 'redis', retryable: true } });
    await refused;
  });

  test('an answer of another form is refused and counted', async () => {
    const { join, hear, claim, letters } = setup();
    await join();
    const refused = expect(claim()).rejects.toMatchObject({ code: 'FRAME_INVALID' });
    hear({ v: 1, re: 2, body: { kind: 'maybe' } });
    await refused;
    expect(letters).toEqual([expect.stringContaining('decode: answer to claim')]);
  });

  test('an aborted request waits no more', async () => {
    const { join, claim } = setup();
    await join();
    const controller = new AbortController();
    const refused = expect(claim(controller.signal)).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await refused;
    await expect(claim(controller.signal)).rejects.toThrow('enough');
  });

  test('a frame over the limit is refused here, and a full buffer is a closed link', async () => {
    const { client, join, claim, refuseSends } = setup();
    await join();
    const detail = 'x'.repeat(frameLimitBytes);
    await expect(client.request('leave', { reason: detail }, { deadlineMs: 1 })).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
    });
    refuseSends();
    await expect(claim()).rejects.toMatchObject({ code: 'LINK_CLOSED' });
  });

  test('more than 512 open requests are refused', async () => {
    const { join, claim, cut } = setup();
    await join();
    const waiting = Array.from({ length: 512 }, () => claim().catch((error: { code: string }) => error.code));
    await expect(claim()).rejects.toMatchObject({ code: 'INBOX_FULL' });
    cut();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['LINK_CLOSED']));
  });

  test('notices of the hub are checked; what is none is counted and skipped', () => {
    const { open, hear, notices, letters } = setup();
    open();
    hear({ v: 1, type: 'wake', body: {} });
    hear({ v: 1, type: 'cancel', body: { jobId: '../x', reason: '' } });
    hear({ v: 1, type: 'new-kind', body: {} });
    hear({ v: 1, id: 4, type: 'wake', body: {} });
    hear('nonsense');
    expect(notices).toEqual([{ notice: 'wake', body: {} }]);
    expect(letters).toHaveLength(4);
  });

  test('a welcome’s token is used from then on, until a hub refuses it', () => {
    const { client, dials, open, cut, connect } = setup();
    open();
    client.machineToken = 'machine';
    cut();
    open();
    expect(dials[1]?.token).toBe('machine');
    cut(4401);
    connect();
    expect(dials.map((dial) => dial.token)).toEqual(['join', 'machine', 'join']);
  });

  test('hanging up closes the link without telling, or gives up the dial', () => {
    const { dials, closes, log, open, connect } = setup();
    open()();
    expect(closes).toEqual([1000]);
    connect()();
    expect(dials[1]?.aborted).toBe(true);
    expect(log).toEqual(['opened']);
  });

  test('a dial that opens after it was given up is closed at once', () => {
    const { client, dials, closes, connect } = setup();
    connect()();
    dials[0]?.handlers.open({ send: () => true, bufferedBytes: () => 0, close: (code) => closes.push(code) });
    expect(closes).toEqual([1000]);
    expect(client.open).toBe(false);
  });
});
