import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContractHub, json, problem } from './contract-hub.ts';
import { runMain } from './run-main.fixture.ts';

/** What is said where a name is malformed or unknown, and where several fields are wrong. */

let hub: ContractHub;
let dir: string;
beforeEach(async () => {
  hub = await ContractHub.start();
  dir = await mkdtemp(join(tmpdir(), 'emp-refusals-'));
});
afterEach(async () => {
  await hub.stop();
  await rm(dir, { recursive: true, force: true });
});

const emp = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  runMain(args, { env: { EMP_STATE_DIR: dir, EMP_HUB: hub.url, ...env } });

test.each([
  [['pause', 'customer', 'b ob'], 'a customer name'],
  [['resume', 'pool', 'a/b'], 'a pool name'],
  [['pause', 'service', ''], 'a service name'],
  [['cancel', 'a b'], 'a job id'],
  [['requeue', '..'], 'a job id'],
  [['job', 'a b'], 'a job id'],
  [['job', 'explain', 'a b'], 'a job id'],
  [['machines', 'show', 'm 1'], 'a machine id'],
  [['drain', 'm 1'], 'a machine id'],
  [['cordon', 'm 1'], 'a machine id'],
  [['limits', 'set', 'my limit', '--pool', 'p'], 'a limit name'],
  [['limits', 'remove', 'my limit'], 'a limit name'],
  [['schedules', 'show', 'my schedule'], 'a schedule name'],
  [['schedules', 'remove', 'my schedule'], 'a schedule name'],
])('emp %j: a malformed name is a usage error that says what it is, and asks no hub', async (args, what) => {
  const { code, stderr } = await emp(args);
  expect(stderr).toContain(`: ${what} has 1 to `);
  expect({ code, asked: hub.requests }).toEqual({ code: 2, asked: [] });
});

test('of several ids a malformed one is refused alone', async () => {
  hub.on('POST /v1/jobs/b/cancel', ({ response }) => problem(response, 409, 'CONFLICT', 'b has succeeded'));
  const { code, stdout } = await emp(['cancel', 'a b', 'b']);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^a b {2}EMP-USAGE {2}.*\nb {2}EMP-CONFLICT {2}b has succeeded\n$/);
});

test.each([
  [['limits', 'remove', 'w'], 'DELETE /v1/limits/w', 'emp limits'],
  [['schedules', 'remove', 'w'], 'DELETE /v1/schedules/w', 'emp schedules'],
  [['bulk', 'abort', 'w'], 'POST /v1/bulks/w/abort', 'emp bulk'],
  [['resume', 'pool', 'w'], 'DELETE /v1/pauses/pool/w', 'emp status, which says what is held back'],
  [['machines', 'show', 'w'], 'GET /v1/machines/w', 'emp machines'],
  [['drain', 'w'], 'POST /v1/machines/w/drain', 'emp machines'],
  [['cancel', 'w'], 'POST /v1/jobs/w/cancel', 'emp jobs'],
])('emp %j: where nothing has this name, the hint is what lists them', async (args, route, list) => {
  hub.on(route, ({ response }) => problem(response, 404, 'NOT_FOUND', 'none is kept'));
  const { code, stderr } = await emp([...args, '--json']);
  expect(code).toBe(3);
  expect(JSON.parse(stderr)).toMatchObject({ code: 'EMP-NOT-FOUND', try: list });
});

test('wrong fields of a limit point to the help of its command, those of a job to a dry run', async () => {
  const wrong = [{ pointer: '', detail: 'a limit names a customer, a pool or a model' }];
  hub.on('PUT /v1/limits/w', ({ response }) => problem(response, 422, 'VALIDATION_FAILED', 'wrong', wrong));
  hub.on('POST /v1/jobs', ({ response }) => problem(response, 422, 'VALIDATION_FAILED', 'wrong'));
  const { stderr } = await emp(['limits', 'set', 'w']);
  expect(stderr).toContain('\n  a limit names a customer, a pool or a model\n');
  expect(stderr).toContain('\n  try: mend what is named above: emp limits set --help\n');
  expect((await emp(['run', 'image'])).stderr).toContain('emp run --dry-run checks without running');
});

test.each([
  [['pause', 'service', 'imge'], 'PUT /v1/pauses/service/imge', { pause: { kind: 'service', name: 'imge' } }],
  [['limits', 'set', 'w', '--pool', 'p', '--waiting', '1'], 'PUT /v1/limits/w', { limit: { name: 'w' } }],
])(
  'emp %j: what the hub warns of is a remark for people and a field for scripts',
  async (args, route, done) => {
    const warnings = ['nothing is known of it'];
    hub.on(route, ({ response }) => json(response, 200, { ...done, warnings }));
    const { code, stdout, stderr } = await emp(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'warning: nothing is known of it\n' });
    expect(stdout).toMatch(/^(service imge {2}held back|w {2}kept)\n$/);
    const scripted = await emp([...args, '--json']);
    expect({ code: scripted.code, stderr: scripted.stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(scripted.stdout)).toEqual({ ...Object.values(done)[0], warnings });
    hub.on(route, ({ response }) => json(response, 200, done));
    expect(await emp(args)).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse((await emp([...args, '--json'])).stdout)).toEqual(Object.values(done)[0]);
  },
);

test('several settings of a machine that are wrong are told one a line', async () => {
  const env = { EMP_HUB_URL: 'foo', EMP_DRAIN_MS: 'x', EMP_JOIN_TOKEN: 't' };
  const { stderr } = await emp(['machine'], env);
  expect(stderr).toMatch(
    /^error: this machine cannot start\n {2}at .*EMP_HUB_URL.*\n {2}at .*EMP_DRAIN_MS.*\n {2}l/,
  );
});

test('several wrong fields of a scenario are set apart', async () => {
  const path = join(dir, 'bad.json');
  await writeFile(path, '{"spanHours":-2,"fleet":{"lostPerHour":-1}}');
  const { code, stderr } = await emp(['sim', 'run', path]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: \S+bad\.json:1: spanHours: [^;]*; \S+bad\.json:1: fleet\.lostPerHour: /);
});
