import { describe, expect, test } from 'vitest';
import type { PeerHandlers, PeerLink } from '#protocol/peer.ts';
import { simEnv } from './sim-env.ts';
import { SimNetwork } from './sim-link.ts';
import { SimProcess } from './sim-process.ts';

function recorder() {
  const seen: string[] = [];
  let link: PeerLink | null = null;
  const handlers: PeerHandlers = {
    open: (opened) => {
      link = opened;
      seen.push('open');
    },
    message: (text) => seen.push(text),
    closed: ({ code, reason }) => seen.push(`closed ${code} ${reason}`),
  };
  return { seen, handlers, link: () => link! };
}

async function setup(options: { resetChance?: number; latencyMs?: { min: number; max: number } } = {}) {
  const world = simEnv({ seed: 3 });
  const network = new SimNetwork({
    clock: world.clock,
    rng: world.rng.fork('network'),
    latencyMs: options.latencyMs ?? { min: 10, max: 30 },
    ...(options.resetChance === undefined ? {} : { resetChance: options.resetChance }),
  });
  const machine = new SimProcess({ name: 'm1', world });
  const hub = new SimProcess({ name: 'hub-1', world });
  const [near, far] = [recorder(), recorder()];
  const tokens: string[] = [];
  network.listen('ws://hub-1', {
    process: hub,
    accept: ({ token }) => {
      tokens.push(token);
      return token === 'good' ? far.handlers : { refused: { code: 4401, reason: 'bad token' } };
    },
  });
  const dial = (token = 'good', url = 'ws://hub-1') =>
    network.dialer(machine).dial({ url, token, handlers: near.handlers });
  return { clock: world.clock, network, machine, hub, near, far, tokens, dial };
}

async function connected(options: Parameters<typeof setup>[0] = {}) {
  const parts = await setup(options);
  parts.dial();
  await parts.clock.advanceBy(1_000);
  expect([parts.near.seen, parts.far.seen]).toEqual([['open'], ['open']]);
  const connection = parts.network.connections()[0]!;
  return { ...parts, connection };
}

describe('simulated link', () => {
  test('frames of one direction keep their order whatever their delays are', async () => {
    const { clock, near, far } = await connected();
    const sent = Array.from({ length: 100 }, (_, i) => `frame ${i}`);
    for (const text of sent) expect(near.link().send(text)).toBe(true);
    expect(near.link().bufferedBytes()).toBe(sent.join('').length);
    await clock.advanceBy(100);
    expect(far.seen).toEqual(['open', ...sent]);
    expect(near.link().bufferedBytes()).toBe(0);
  });

  test('a frame arrives after its delay and not before', async () => {
    const { clock, near, far } = await connected({ latencyMs: { min: 20, max: 20 } });
    near.link().send('x');
    await clock.advanceBy(19);
    expect(far.seen).toEqual(['open']);
    await clock.advanceBy(1);
    expect(far.seen).toEqual(['open', 'x']);
  });

  test('a dial to nothing, to a refusing listener or to a dead one closes once without opening', async () => {
    const { clock, near, dial, hub, tokens } = await setup();
    dial('good', 'ws://nobody');
    await clock.advanceBy(100);
    dial('bad');
    await clock.advanceBy(100);
    hub.kill();
    dial();
    await clock.advanceBy(100);
    expect(near.seen).toEqual([
      'closed 1006 nothing listens on ws://nobody',
      'closed 4401 bad token',
      'closed 1006 nothing listens on ws://hub-1',
    ]);
    expect(tokens).toEqual(['bad']);
  });

  test('an aborted dial closes once and the listener does not keep the link', async () => {
    const { clock, near, far, dial, network } = await setup();
    dial().abort();
    await clock.advanceBy(100);
    expect(near.seen).toEqual(['closed 1006 given up']);
    expect(far.seen).toEqual([]);
    expect(network.connections()).toEqual([]);
  });

  test('a close reaches both sides once, after the frames sent before it', async () => {
    const { clock, near, far, network } = await connected();
    near.link().send('last');
    near.link().close(1000, 'bye');
    expect(near.link().send('too late')).toBe(false);
    expect(near.seen).toEqual(['open']);
    await clock.advanceBy(100);
    expect(near.seen).toEqual(['open', 'closed 1000 bye']);
    expect(far.seen).toEqual(['open', 'last', 'closed 1000 bye']);
    expect(network.connections()).toEqual([]);
  });

  test('a cut link ends on both sides and frames under way may be lost', async () => {
    const { clock, near, far, connection } = await connected();
    connection.cut();
    await clock.advanceBy(100);
    expect(near.seen).toEqual(['open', 'closed 1006 cut']);
    expect(far.seen).toEqual(['open', 'closed 1006 cut']);
  });

  test('held frames arrive on release, in order; the other direction flows meanwhile', async () => {
    const { clock, near, far, connection } = await connected();
    connection.set({ up: 'held' });
    near.link().send('a');
    near.link().send('b');
    far.link().send('down');
    await clock.advanceBy(60_000);
    expect([near.seen.at(-1), far.seen]).toEqual(['down', ['open']]);
    connection.set({ up: 'flowing' });
    await clock.advanceBy(100);
    expect(far.seen).toEqual(['open', 'a', 'b']);
  });

  test('a half-open link swallows frames and closes without telling anybody', async () => {
    const { clock, near, far, connection } = await connected();
    connection.set({ up: 'vanishing', down: 'vanishing' });
    expect(near.link().send('lost')).toBe(true);
    near.link().close(1001, 'gone');
    await clock.advanceBy(60_000);
    expect(near.seen).toEqual(['open', 'closed 1001 gone']);
    expect(far.seen).toEqual(['open']);
    expect(far.link().send('into the void')).toBe(true);
  });

  test('a full send buffer refuses instead of growing', async () => {
    const { near, connection } = await connected();
    connection.set({ up: 'held' });
    const frame = 'x'.repeat(1024 * 1024);
    expect([1, 2, 3, 4, 5].map(() => near.link().send(frame))).toEqual([true, true, true, true, false]);
  });

  test('a reset takes the whole link, never a single frame', async () => {
    const { clock, near, far } = await connected({ resetChance: 0.05 });
    const sent: string[] = [];
    for (let i = 0; near.link().send(`frame ${i}`); i++) {
      sent.push(`frame ${i}`);
      await clock.advanceBy(1);
    }
    await clock.advanceBy(100);
    const arrived = far.seen.filter((text) => text.startsWith('frame'));
    expect(arrived).toEqual(sent.slice(0, arrived.length));
    expect(near.seen.at(-1)).toBe('closed 1006 reset');
    expect(far.seen.at(-1)).toBe('closed 1006 reset');
  });

  test('a frozen process reads on thaw what came before the close', async () => {
    const { clock, near, far, hub } = await connected();
    hub.freeze();
    near.link().send('before');
    near.link().close(1000, 'bye');
    await clock.advanceBy(60_000);
    expect(far.seen).toEqual(['open']);
    hub.thaw();
    await clock.advanceBy(0);
    expect(far.seen).toEqual(['open', 'before', 'closed 1000 bye']);
  });

  test('peers of a process that ended cleanly learn of it, of a vanished box they do not', async () => {
    const clean = await connected();
    clean.machine.kill();
    clean.network.processEnded('m1', 'clean');
    const silent = await connected();
    silent.machine.kill();
    silent.network.processEnded('m1', 'silent');
    await clean.clock.advanceBy(60_000);
    await silent.clock.advanceBy(60_000);
    expect(clean.far.seen).toEqual(['open', 'closed 1006 process ended']);
    expect(silent.far.seen).toEqual(['open']);
  });
});
