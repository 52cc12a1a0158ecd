import { describe, expect, test } from 'vitest';
import { tombstoneMs } from './broker.ts';
import { type BrokerSetup, entryOf, openRig, Rig } from './broker-fixture.conformance.ts';
import { tokenAfter } from './token.ts';

/** How work comes in: submit, re-drive, tombstones, delayed entries, and what can be read of them. */
export function submitSuite(setup: BrokerSetup): void {
  const open = () => openRig(setup);

  describe('submit', () => {
    test('an entry is seen as it was submitted, waiting and without a token', async () => {
      const rig = await open();
      await rig.add('a', { attempts: 1, runs: 2, fenceFloor: '7', affinity: 'flux-dev' });
      expect(await rig.broker.inspect('a')).toEqual({
        jobId: 'a',
        state: 'waiting',
        token: '0',
        fenceFloor: '7',
        score: 0,
        group: 'g1',
        affinity: 'flux-dev',
        attempts: 1,
        runs: 2,
        holder: null,
        cancelRequested: false,
        rebuilt: false,
        notBeforeMs: null,
        ahead: 0,
        clockMs: 0,
        aheadInGroup: 0,
        leaders: [],
      });
    });

    test('an id that is present is answered exists and changes nothing', async () => {
      const rig = await open();
      await rig.add('a', { priority: 10 });
      const before = await rig.seen();
      expect(await rig.submit(entryOf('a', { priority: 90, group: 'g2' }))).toEqual([{ kind: 'exists' }]);
      expect(await rig.seen()).toEqual(before);
    });

    test('a batch is answered in order, also where one id comes twice', async () => {
      const rig = await open();
      await rig.add('b');
      const answers = await rig.submit(entryOf('a'), entryOf('b'), entryOf('a'), entryOf('c'));
      expect(answers.map((each) => each.kind)).toEqual(['added', 'exists', 'exists', 'added']);
    });

    test('an empty batch is answered with nothing', async () => {
      const rig = await open();
      expect(await rig.submit()).toEqual([]);
    });

    test('a thousand entries are taken at once, one more is refused whole', async () => {
      const rig = await open();
      const entries = Array.from({ length: 1_001 }, (_, index) => entryOf(`job-${index}`));
      await expect(rig.submit(...entries)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
      expect((await rig.broker.stats()).waiting).toBe(0);
      expect(await rig.submit(...entries.slice(1))).toHaveLength(1_000);
      expect((await rig.broker.stats()).waiting).toBe(1_000);
    });

    test('what the caller does to a body after the submit, or to one it got, changes nothing here', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const entry = entryOf('a', { body: { nested: { value: 1 } } });
      await rig.submit(entry);
      (entry.body as { nested: { value: number } }).nested.value = 2;
      const lease = await machine.lease();
      expect(lease.body).toEqual({ nested: { value: 1 } });
      (lease.body as { nested: { value: number } }).nested.value = 3;
      const again = await machine.lease({ requestId: machine.requestId });
      expect(again.body).toEqual({ nested: { value: 1 } });
    });

    test('a body of exactly the limit is kept, with every character', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const frame = Buffer.byteLength(JSON.stringify({ text: '雪🚀\u0000"' }));
      const body = { text: `雪🚀\u0000"${'x'.repeat(8_192 - frame)}` };
      await rig.add('a', { body });
      expect((await machine.lease()).body).toEqual(body);
    });

    test('another identity than the server has now is told the present one, and nothing is added', async () => {
      const rig = await open();
      const identity = await rig.identity();
      const answer = await rig.broker.submit({ identity: 'another', entries: [entryOf('a')] });
      expect(answer).toEqual({ kind: 'identityChanged', identity });
      expect(await rig.stateOf('a')).toBeNull();
    });

    test('a closed Broker adds nothing without the ticket of the reconcile under way', async () => {
      const rig = new Rig(await setup());
      const identity = await rig.identity();
      const entries = [entryOf('a')];
      expect(await rig.broker.submit({ identity, entries })).toEqual({ kind: 'closed' });
      const stale = await rig.start();
      const ticket = await rig.start();
      expect(await rig.broker.submit({ identity, entries, ticket: stale })).toEqual({ kind: 'closed' });
      expect(await rig.broker.submit({ identity, entries, ticket: { ...ticket, identity: 'x' } })).toEqual({
        kind: 'closed',
      });
      expect(await rig.broker.submit({ identity, entries, ticket })).toEqual({
        kind: 'ok',
        answers: [{ kind: 'added', wake: null }],
      });
    });

    test('identity is judged before closedness: a hub with an old row must read it again', async () => {
      const rig = await open();
      const identity = await rig.identity();
      await rig.under.restart();
      const answer = await rig.broker.submit({ identity, entries: [entryOf('a')] });
      expect(answer).toEqual({ kind: 'identityChanged', identity: await rig.identity() });
    });

    test('a second client sees what the first submitted', async () => {
      const rig = await open();
      const other = await rig.under.connect();
      await rig.add('a');
      expect(await other.inspect('a')).toMatchObject({ jobId: 'a', state: 'waiting' });
      expect((await other.identity()).identity).toBe(await rig.identity());
      await other.close();
      await expect(other.stats()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' });
      expect(await rig.stateOf('a')).toBe('waiting');
    });
  });

  describe('tombstones', () => {
    test.each([
      ['below', '6', 'tombstoned'],
      ['at', '7', 'tombstoned'],
      ['above', '8', 'added'],
    ])('a submit %s the floor of an ended id is judged', async (_name, fenceFloor, kind) => {
      const rig = await open();
      await rig.add('a', { fenceFloor: '7' });
      await rig.broker.complete({ jobId: 'a', token: '0', fenceFloor: '7' });
      const [answer] = await rig.submit(entryOf('a', { fenceFloor }));
      expect(answer?.kind).toBe(kind);
      if (kind === 'tombstoned') expect(answer).toEqual({ kind, fenceFloor: '7' });
    });

    test('a tombstone keeps the higher of token and floor', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      await rig.broker.complete({ jobId: 'a', token, fenceFloor: '0' });
      expect(await rig.submit(entryOf('a', { fenceFloor: '5' }))).toEqual([
        { kind: 'tombstoned', fenceFloor: token },
      ]);
      expect((await rig.submit(entryOf('a', { fenceFloor: tokenAfter(token) })))[0]?.kind).toBe('added');
    });

    test('it refuses for its time and not longer', async () => {
      const rig = await open();
      await rig.broker.cancel({ jobId: 'a', fenceFloor: '0' });
      await rig.under.advance(tombstoneMs - 1);
      expect((await rig.submit(entryOf('a')))[0]?.kind).toBe('tombstoned');
      await rig.under.advance(1);
      expect((await rig.submit(entryOf('a')))[0]?.kind).toBe('added');
    });

    test('they do not pile up: each end forgets some whose time has passed', async () => {
      const rig = await open();
      for (let index = 0; index < 20; index++)
        await rig.broker.cancel({ jobId: `old-${index}`, fenceFloor: '0' });
      await rig.under.advance(tombstoneMs);
      for (let index = 0; index < 10; index++)
        await rig.broker.cancel({ jobId: `new-${index}`, fenceFloor: '0' });
      expect((await rig.broker.stats()).tombstones).toBe(10);
    });
  });

  describe('a newer life over an entry that is still here', () => {
    test('a waiting entry of a lower floor is replaced by what the row says now', async () => {
      const rig = await open();
      await rig.add('a', { group: 'g1', attempts: 0 });
      expect((await rig.submit(entryOf('a', { fenceFloor: '9', group: 'g2', attempts: 2 })))[0]?.kind).toBe(
        'added',
      );
      expect(await rig.broker.inspect('a')).toMatchObject({ fenceFloor: '9', group: 'g2', attempts: 2 });
      expect(await rig.broker.stats()).toMatchObject({ waiting: 1, groups: [{ group: 'g2', waiting: 1 }] });
    });

    test('a lease that the new floor shuts out ends, and the next token is still higher', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      await rig.add('a', { fenceFloor: tokenAfter(token) });
      expect(await rig.stateOf('a')).toBe('waiting');
      expect(await machine.beatOk()).toMatchObject({ drop: ['a'] });
      expect(Number((await machine.lease()).token)).toBeGreaterThan(Number(token));
    });

    test('the next token is higher also where neither the clock nor the new floor has passed the last', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const lease = await machine.lease();
      await rig.release(lease, { fenceFloor: '0' });
      await rig.add('a', { fenceFloor: '1' });
      expect(Number((await machine.lease()).token)).toBeGreaterThan(Number(lease.token));
    });

    test('a lease that the new floor does not shut out goes on under it', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      await rig.add('a');
      const { token } = await machine.lease();
      expect(await rig.submit(entryOf('a', { fenceFloor: '1' }))).toEqual([{ kind: 'exists' }]);
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'leased', token, fenceFloor: '1' });
      expect(await rig.broker.complete({ jobId: 'a', token: '0', fenceFloor: '0' })).toEqual({
        kind: 'unchanged',
      });
      expect(await machine.beatOk()).toMatchObject({ drop: [], unnamed: [] });
    });
  });

  describe('delayed entries', () => {
    test('one is not claimable before its time, nor at it until it is promoted', async () => {
      const rig = await open();
      const machine = await rig.machine('m1');
      const dueMs = (await rig.now()) + 5_000;
      expect(await rig.add('a', { notBeforeMs: dueMs })).toEqual({ kind: 'added', wake: null });
      expect(await rig.broker.inspect('a')).toMatchObject({ state: 'delayed', notBeforeMs: dueMs, ahead: 0 });
      expect(await rig.broker.promote({ limit: 10 })).toEqual({ promoted: [], wakes: [], nextInMs: 5_000 });
      await rig.under.advance(4_999);
      expect((await rig.broker.promote({ limit: 10 })).promoted).toEqual([]);
      await rig.under.advance(1);
      expect((await machine.claim()).kind).toBe('empty');
      expect(await rig.broker.promote({ limit: 10 })).toEqual({
        promoted: ['a'],
        wakes: [machine.ref],
        nextInMs: null,
      });
      expect((await machine.lease()).jobId).toBe('a');
    });

    test('a time that has passed makes nothing wait', async () => {
      const rig = await open();
      await rig.add('a', { notBeforeMs: 1 });
      expect(await rig.stateOf('a')).toBe('waiting');
    });

    test('due ones move in order of their time, at most as many as asked for', async () => {
      const rig = await open();
      const baseMs = await rig.now();
      for (const [jobId, offsetMs] of Object.entries({ a: 300, b: 100, c: 200, d: 9_000 }))
        await rig.add(jobId, { notBeforeMs: baseMs + offsetMs });
      await rig.under.advance(1_000);
      expect(await rig.broker.promote({ limit: 2 })).toMatchObject({
        promoted: ['b', 'c'],
        nextInMs: 0,
      });
      expect(await rig.broker.promote({ limit: 2 })).toMatchObject({
        promoted: ['a'],
        nextInMs: 8_000,
      });
      expect(await rig.broker.stats()).toMatchObject({ waiting: 3, delayed: 1 });
    });
  });

  describe('reading', () => {
    test('ids are listed in order, page by page, with state, token and floor', async () => {
      const rig = await open();
      const machine = await rig.machine('m1', { groups: ['g2'] });
      await rig.submit(entryOf('b', { group: 'g2' }), entryOf('A'), entryOf('a'), entryOf('c'));
      const { token } = await machine.lease();
      const first = await rig.broker.list({ after: null, limit: 3 });
      expect(first).toEqual([
        { jobId: 'A', state: 'waiting', token: '0', fenceFloor: '0' },
        { jobId: 'a', state: 'waiting', token: '0', fenceFloor: '0' },
        { jobId: 'b', state: 'leased', token, fenceFloor: '0' },
      ]);
      expect((await rig.broker.list({ after: 'b', limit: 3 })).map((each) => each.jobId)).toEqual(['c']);
      expect((await rig.broker.list({ after: 'aa', limit: 1 })).map((each) => each.jobId)).toEqual(['b']);
      expect(await rig.broker.list({ after: 'c', limit: 3 })).toEqual([]);
    });

    test('stats count each entry once, and groups with most waiting first', async () => {
      const rig = await open();
      const machine = await rig.machine('m1', { groups: ['g3'] });
      const dueMs = (await rig.now()) + 60_000;
      await rig.submit(entryOf('a'), entryOf('b', { group: 'g2' }), entryOf('c', { group: 'g2' }));
      await rig.submit(entryOf('d', { group: 'g3' }), entryOf('e', { notBeforeMs: dueMs }));
      await machine.lease();
      await rig.broker.cancel({ jobId: 'gone', fenceFloor: '0' });
      const stats = await rig.broker.stats();
      expect(stats).toMatchObject({
        identity: await rig.identity(),
        open: true,
        waiting: 3,
        delayed: 1,
        leased: 1,
        incarnations: 1,
        tombstones: 1,
      });
      expect(stats.groups).toEqual([
        { group: 'g2', waiting: 2 },
        { group: 'g1', waiting: 1 },
      ]);
    });

    test('the count of operations rises with each change and falls when writes are lost', async () => {
      const rig = await open();
      const mark = await rig.under.mark();
      const before = (await rig.broker.stats()).operations;
      await rig.add('a');
      expect((await rig.broker.stats()).operations).toBe(before + 1);
      await rig.under.rollback(mark);
      expect((await rig.broker.stats()).operations).toBe(before);
    });

    test('an id that is not here is inspected as null', async () => {
      const rig = await open();
      expect(await rig.broker.inspect('nobody')).toBeNull();
    });
  });
}
