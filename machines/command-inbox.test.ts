import { afterAll, describe, expect, test } from 'vitest';
import { HUB_NOTICES } from '#protocol/link.ts';
import { VirtualClock } from '#simulations/virtual-clock.ts';
import { ChartCoverage, chartRig } from './chart-rig.fixture.ts';
import { commandInboxChart, noticeKey } from './command-inbox.ts';
import type { LinkNotice } from './link.ts';

const coverage = new ChartCoverage(commandInboxChart);
const cases: [LinkNotice, string, object][] = [
  [{ notice: 'wake', body: {} }, 'claimer', { type: 'claim.wanted' }],
  [{ notice: 'cordon', body: { cordoned: true } }, 'claimer', { type: 'claim.cordon', cordoned: true }],
  [
    { notice: 'cancel', body: { jobId: 'j1', reason: 'r' } },
    'runs',
    { type: 'runs.end', jobId: 'j1', cause: { kind: 'cancel', reason: 'r' } },
  ],
  [
    { notice: 'preempt', body: { jobId: 'j1', reason: 'r' } },
    'runs',
    { type: 'runs.end', jobId: 'j1', cause: { kind: 'release', reason: 'r' } },
  ],
  [{ notice: 'drop', body: { jobId: 'j1' } }, 'runs', { type: 'runs.drop', jobIds: ['j1'] }],
  [
    { notice: 'drain', body: { deadlineMs: 5, reason: 'r' } },
    'supervisor',
    { type: 'machine.drain', deadlineMs: 5, reason: 'r' },
  ],
  [{ notice: 'superseded', body: {} }, 'supervisor', { type: 'machine.superseded' }],
  [{ notice: 'closing', body: {} }, 'link', { type: 'link.renew' }],
];

describe('command inbox', () => {
  afterAll(() => expect(coverage.missing()).toEqual({ states: [], transitions: [] }));

  test.each(cases)('%j goes to %s', (notice, to, event) => {
    const rig = chartRig({
      chart: commandInboxChart,
      clock: new VirtualClock(),
      coverage,
      peers: ['claimer', 'runs', 'supervisor', 'link'],
    });
    rig.send({ type: 'notice', ...notice });
    expect(rig.sent).toMatchObject([{ to, event }]);
  });

  test('every notice of the protocol is routed', () => {
    expect(cases.map(([notice]) => notice.notice).sort()).toEqual(Object.keys(HUB_NOTICES).sort());
  });

  test('notices about one job are one, about two jobs are two', () => {
    const cancel = (jobId: string): LinkNotice => ({ notice: 'cancel', body: { jobId, reason: '' } });
    expect(noticeKey(cancel('j1'))).toBe(noticeKey(cancel('j1')));
    expect(noticeKey(cancel('j1'))).not.toBe(noticeKey(cancel('j2')));
    expect(noticeKey(cancel('j1'))).not.toBe(noticeKey({ notice: 'drop', body: { jobId: 'j1' } }));
  });
});
