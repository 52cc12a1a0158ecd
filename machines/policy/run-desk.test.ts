import { describe, expect, test } from 'vitest';
import type { Assignment } from '#protocol/link.ts';
import {
  claimable,
  type Desk,
  holdings,
  type RunEntry,
  slotView,
  stagedServices,
  unended,
} from './run-desk.ts';

const entry = (jobId: string, rest: Partial<RunEntry> = {}): RunEntry => ({
  name: `run/${jobId}.5`,
  assignment: { jobId, token: '5', service: 'test' } as Assignment,
  phase: 'running',
  slot: 'test#0',
  dropped: false,
  nearEnd: false,
  ...rest,
});
const desk = (entries: RunEntry[], rest: Partial<Desk> = {}): Desk => ({
  slots: [{ id: 'test#0', service: 'test', device: 'cpu-0' }],
  runs: Object.fromEntries(entries.map((run) => [run.name, run])),
  upServices: ['test'],
  usableDevices: ['cpu-0'],
  draining: false,
  noRoom: [],
  ...rest,
});
const slots = (of: Desk, runsLimit = 99) => claimable(of, runsLimit)[0]?.slots;

describe('the desk of runs', () => {
  test('a service whose job found no room offers nothing, others do', () => {
    expect(slots(desk([], { noRoom: ['test'] }))).toBe(0);
    expect(slots(desk([], { noRoom: ['other'] }))).toBe(1);
    expect(slots(desk([entry('j1', { nearEnd: true })], { noRoom: ['test'] }))).toBe(0);
  });

  test('a slot is free until a run occupies it, and again when the run only uploads or ends', () => {
    expect(slots(desk([]))).toBe(1);
    expect(slots(desk([entry('j1')]))).toBe(0);
    for (const phase of ['uploading', 'ending'] as const)
      expect(slots(desk([entry('j1', { phase })])), phase).toBe(1);
  });

  test('one job may be claimed ahead of a run that is about to end, and no second', () => {
    expect(slots(desk([entry('j1', { nearEnd: true })]))).toBe(1);
    expect(
      slots(desk([entry('j1', { nearEnd: true }), entry('j2', { slot: null, phase: 'preparing' })])),
    ).toBe(0);
  });

  test('a job without a slot stages its service, until it has one or ends', () => {
    const staged = (rest: Partial<RunEntry>) => stagedServices(desk([entry('j1'), entry('j2', rest)]));
    expect(staged({ slot: null, phase: 'preparing' })).toEqual(['test']);
    expect(staged({ slot: 'test#0', phase: 'preparing' })).toEqual([]);
    expect(staged({ slot: null, phase: 'ending' })).toEqual([]);
  });

  test('nothing is claimable while draining, or with too many runs that have not ended', () => {
    expect(slots(desk([], { draining: true }))).toBe(0);
    expect(slots(desk([entry('j1', { phase: 'ending' })]), 1)).toBe(0);
  });

  test('beats name every lease that has not ended, whatever its phase', () => {
    expect(holdings(desk([entry('j1', { phase: 'uploading' }), entry('j2', { dropped: true })]))).toEqual([
      { jobId: 'j1', token: '5' },
    ]);
  });

  test('a run that its service does not let go of holds its slot after its lease', () => {
    for (const phase of ['overdue', 'lingering'] as const) {
      const of = desk([entry('j1', { phase })]);
      expect(slotView(of).taken, phase).toEqual(new Set(['test#0']));
      expect(unended(of), phase).toBe(phase === 'overdue' ? 1 : 0);
      expect(holdings(of), phase).toHaveLength(phase === 'overdue' ? 1 : 0);
    }
  });
});
