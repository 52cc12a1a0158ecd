import { describe, expect, test } from 'vitest';
import { Buggify, buggifySites, drawSites } from './buggify.ts';
import { seededRng } from './seeded-rng.ts';

describe('buggify', () => {
  test('a seed arms the same sites, about a quarter of them, and over some seeds each', () => {
    const seeds = Array.from({ length: 60 }, (_, seed) => drawSites(seededRng(seed)));
    expect(drawSites(seededRng(7))).toEqual(seeds[7]);
    const share = seeds.flat().length / (60 * buggifySites.length);
    expect(share).toBeGreaterThan(0.18);
    expect(share).toBeLessThan(0.32);
    expect(new Set(seeds.flat()).size).toBe(buggifySites.length);
  });

  test('an armed site fires a quarter of the times, another one never', () => {
    const buggify = new Buggify(seededRng(1), ['disk.slow']);
    for (let time = 0; time < 1_000; time++) {
      buggify.fires('disk.slow');
      expect(buggify.fires('frame.twice')).toBe(false);
    }
    expect(buggify.counts()['disk.slow']).toBeGreaterThan(200);
    expect(buggify.counts()['disk.slow']).toBeLessThan(300);
    expect(buggify.counts()['frame.twice']).toBeUndefined();
  });

  test('what one site draws shifts no other one', () => {
    const draws = (armed: ('disk.slow' | 'timer.late')[]) => {
      const buggify = new Buggify(seededRng(1), armed);
      return Array.from({ length: 50 }, () => {
        buggify.fires('timer.late');
        return buggify.fires('disk.slow');
      });
    };
    expect(draws(['disk.slow', 'timer.late'])).toEqual(draws(['disk.slow']));
  });

  test('nothing fires after the heal', () => {
    const buggify = new Buggify(seededRng(1), ['disk.slow']);
    buggify.heal();
    expect(Array.from({ length: 100 }, () => buggify.fires('disk.slow'))).not.toContain(true);
  });
});
