import { describe, expect, test } from 'vitest';
import { PortFaults } from './port-faults.ts';
import { withLayers } from './port-layer.ts';
import { VirtualClock } from './virtual-clock.ts';

class Counter {
  #value = 0;
  async add(by: number): Promise<number> {
    this.#value += by;
    return this.#value;
  }
  async read(): Promise<number> {
    return this.#value;
  }
}

function setup() {
  const clock = new VirtualClock();
  const store = new Counter();
  const faults = new PortFaults<keyof Counter>({ clock, code: 'RECORDS_UNAVAILABLE' });
  const as = (process: string) => withLayers(store, { process, port: 'records', layers: [faults.layer] });
  return { clock, store, faults, as, hub: as('hub-1') };
}

describe('faults in front of a port', () => {
  test('a refused call fails and nothing was done', async () => {
    const { faults, hub } = setup();
    faults.refuse({ method: 'add' });
    await expect(hub.add(1)).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE', retryable: true });
    expect(await hub.read()).toBe(0);
    expect(await hub.add(1)).toBe(1);
  });

  test('a call whose reply is lost fails although it was done', async () => {
    const { faults, hub } = setup();
    faults.loseReply({ method: 'add' });
    await expect(hub.add(1)).rejects.toMatchObject({ code: 'RECORDS_UNAVAILABLE' });
    expect(await hub.read()).toBe(1);
  });

  test('a pause stops a call before or after its effect until released', async () => {
    const { faults, hub, store } = setup();
    const before = faults.pauseBefore({ method: 'add' });
    const first = hub.add(1);
    await before.reached();
    expect(await store.read()).toBe(0);
    before.release();
    expect(await first).toBe(1);
    const after = faults.pauseAfter({ method: 'add' });
    const second = hub.add(1);
    await after.reached();
    expect(await store.read()).toBe(2);
    after.release();
    expect(await second).toBe(2);
  });

  test('a fault meets only the process and the arguments it names, as often as it says', async () => {
    const { faults, hub, as } = setup();
    faults.refuse({ method: 'add', process: 'hub-2', where: ([by]) => by === 5, times: 2 });
    expect(await hub.add(5)).toBe(5);
    expect(await as('hub-2').add(1)).toBe(6);
    await expect(as('hub-2').add(5)).rejects.toThrow('hub-2');
    expect(faults.unmet()).toEqual(['refuse add']);
    await expect(as('hub-2').add(5)).rejects.toThrow('refused');
    expect(faults.unmet()).toEqual([]);
    expect(await as('hub-2').add(5)).toBe(11);
    expect(faults.count('add')).toBe(5);
  });

  test('overlapping outages end when the last one does', async () => {
    const { faults, hub } = setup();
    const [first, second] = [faults.outage(), faults.outage()];
    await expect(hub.add(1)).rejects.toThrow('outage');
    first();
    first();
    await expect(hub.add(1)).rejects.toThrow('outage');
    second();
    expect(await hub.add(1)).toBe(1);
  });

  test('a delay holds the reply by the virtual clock', async () => {
    const { clock, faults, hub, store } = setup();
    faults.delay({ method: 'add', delayMs: 500, when: 'after' });
    let answer = 0;
    void hub.add(1).then((value) => {
      answer = value;
    });
    await clock.advanceTo(499);
    expect([answer, await store.read()]).toEqual([0, 1]);
    await clock.advanceTo(500);
    expect(answer).toBe(1);
  });
});
