import { expect, test } from 'vitest';
import type { BrokerPulse } from '#protocol/broker.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { Pulse } from './pulse.ts';

const pulseOf = (lastEventId: number): BrokerPulse => ({
  identity: 'b.1',
  open: true,
  entries: 0,
  lastEventId,
  earliestExpiryMs: null,
});

test('a pulse is known until it is as old as it may be', async () => {
  const clock = new VirtualClock();
  const pulse = new Pulse({ clock, maxAgeMs: 10 });
  expect(pulse.recent()).toBeNull();
  pulse.note(pulseOf(1), clock.monotonic());
  await clock.advanceBy(10);
  expect(pulse.recent()?.lastEventId).toBe(1);
  await clock.advanceBy(1);
  expect(pulse.recent()).toBeNull();
});

test('of two answers that overtook each other the one that was asked for later stands', () => {
  const clock = new VirtualClock();
  const pulse = new Pulse({ clock, maxAgeMs: 10 });
  pulse.note(pulseOf(7), 2);
  pulse.note(pulseOf(6), 1);
  expect(pulse.recent()?.lastEventId).toBe(7);
});

test('a broker that did not answer is not known', () => {
  const clock = new VirtualClock();
  const pulse = new Pulse({ clock, maxAgeMs: 10 });
  pulse.note(pulseOf(1), clock.monotonic());
  pulse.forget();
  expect(pulse.recent()).toBeNull();
});
