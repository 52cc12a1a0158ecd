import { describe, expect, test } from 'vitest';
import { simEnv } from './sim-env.ts';
import { SimProcess } from './sim-process.ts';

function setup() {
  const world = simEnv({ seed: 1 });
  const process = new SimProcess({ name: 'm1', world });
  const seen: string[] = [];
  const note = (text: string) => () => void seen.push(`${text} @${world.clock.monotonic()}`);
  return { world, clock: world.clock, process, seen, note };
}

describe('simulated process', () => {
  test('a frozen process meets on thaw what came due meanwhile, late and in order', async () => {
    const { clock, process, seen, note } = setup();
    process.env.clock.setTimeout(note('timer 10'), 10);
    process.env.clock.setTimeout(note('timer 20'), 20);
    process.freeze();
    await clock.advanceTo(15);
    process.enter(note('frame'));
    await clock.advanceTo(50);
    expect(seen).toEqual([]);
    process.thaw();
    await clock.advanceBy(0);
    expect(seen).toEqual(['timer 10 @50', 'frame @50', 'timer 20 @50']);
  });

  test('a process that wakes may see its sockets before its overdue timers', async () => {
    const { clock, process, seen, note } = setup();
    process.env.clock.setTimeout(note('timer'), 10);
    process.freeze();
    await clock.advanceTo(20);
    process.enter(note('frame'));
    process.thaw('io');
    await clock.advanceBy(0);
    expect(seen).toEqual(['frame @20', 'timer @20']);
  });

  test('what arrives while the backlog of a thaw is met comes after it', async () => {
    const { clock, process, seen, note } = setup();
    process.freeze();
    process.enter(note('first'));
    process.enter(note('second'));
    process.thaw();
    process.enter(note('third'));
    expect(seen).toEqual([]);
    await clock.advanceBy(0);
    expect(seen).toEqual(['first @0', 'second @0', 'third @0']);
  });

  test('a timer cleared while the process was frozen does not fire on thaw', async () => {
    const { clock, process, seen, note } = setup();
    const id = process.env.clock.setTimeout(note('timer'), 10);
    process.freeze();
    process.enter(() => process.env.clock.clearTimeout(id));
    await clock.advanceTo(20);
    process.thaw();
    await clock.advanceBy(0);
    expect(seen).toEqual([]);
  });

  test('nothing reaches a dead process: its continuation never runs', async () => {
    const { clock, process, seen, note } = setup();
    process.env.clock.setTimeout(note('timer'), 10);
    let answer: (() => void) | undefined;
    const reply = new Promise<void>((resolve) => {
      answer = resolve;
    });
    void process.receive(reply).then(note('reply'));
    process.kill();
    answer?.();
    process.thaw();
    process.enter(note('frame'));
    await clock.advanceTo(20);
    expect(seen).toEqual([]);
  });

  test('a rejected reply reaches a thawed process as a rejection', async () => {
    const { clock, process } = setup();
    process.freeze();
    const reply = expect(process.receive(Promise.reject(new Error('down')))).rejects.toThrow('down');
    await clock.advanceBy(1);
    process.thaw();
    await clock.advanceBy(0);
    await reply;
  });

  test('a skewed wall clock leaves the world and monotonic time alone', async () => {
    const { clock, process } = setup();
    process.skewWall(300_000);
    await clock.advanceTo(1_000);
    expect(process.env.clock.now() - clock.now()).toBe(300_000);
    expect(process.env.clock.monotonic()).toBe(clock.monotonic());
  });
});
