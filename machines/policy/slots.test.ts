import { describe, expect, test } from 'vitest';
import { freeSlot, freeSlots, layOutSlots, type SlotView } from './slots.ts';

const slots = layOutSlots({ image: 3, llm: 1 }, ['GPU-1', 'GPU-2']);
const view = (rest: Partial<SlotView> = {}): SlotView => ({
  slots,
  taken: new Set(),
  upServices: new Set(['image', 'llm']),
  usableDevices: new Set(['GPU-1', 'GPU-2']),
  ...rest,
});

describe('slots', () => {
  test('are laid out over the cards in turn', () => {
    expect(slots.map((slot) => `${slot.id} ${slot.device}`)).toEqual([
      'image#0 GPU-1',
      'image#1 GPU-2',
      'image#2 GPU-1',
      'llm#0 GPU-2',
    ]);
    expect(layOutSlots({ image: 3 }, [])).toEqual([]);
  });

  test('a lost card takes its share', () => {
    expect(freeSlots(view({ usableDevices: new Set(['GPU-1']) }))).toEqual([
      { service: 'image', slots: 2 },
      { service: 'llm', slots: 0 },
    ]);
  });

  test('taken slots and services that are down are not free', () => {
    expect(freeSlots(view({ taken: new Set(['image#0']) }))[0]).toEqual({ service: 'image', slots: 2 });
    expect(freeSlots(view({ upServices: new Set(['llm']) }))).toEqual([{ service: 'llm', slots: 1 }]);
    expect(freeSlot(view({ taken: new Set(['llm#0']) }), 'llm')).toBeNull();
    expect(freeSlot(view({ taken: new Set(['image#0']) }), 'image')?.id).toBe('image#1');
  });
});
