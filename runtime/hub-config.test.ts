import { describe, expect, test } from 'vitest';
import { toEmpError } from '#protocol/errors.ts';
import { listenFlags } from './boot-hub.ts';
import { beatMsOf, closeRestMsOf, HubConfig, readHubConfig } from './hub-config.ts';

const read = (variables: Record<string, string | undefined>, flags: Record<string, unknown> = {}) =>
  readHubConfig({ variables, flags });

describe('hub config', () => {
  test('needs nothing', () => {
    expect(read({})).toMatchObject({ host: '127.0.0.1', port: 7_700, leaseTtlMs: 30_000, dataDir: null });
  });

  test('variables are read by name, flags win, other names and empty ones are ignored', () => {
    const variables = {
      EMP_LEASE_TTL_MS: '1000',
      EMP_PORT: '1',
      EMP_HUB: 'x',
      EMP_DATA_DIR: '',
      PATH: '/bin',
    };
    expect(read(variables, { port: '7701', dataDir: undefined })).toMatchObject({
      leaseTtlMs: 1_000,
      port: 7_701,
      dataDir: null,
    });
  });

  test('every problem is told at once, each by the name that the reader used', () => {
    try {
      read({ EMP_LEASE_TTL_MS: 'soon', EMP_WAITING_LIMIT: '-1' }, { host: '0.0.0.0' });
      throw new Error('the config was taken');
    } catch (error) {
      const { code, message, errors } = toEmpError(error);
      expect(code).toBe('CONFIG_INVALID');
      expect(errors.map((each) => each.pointer).sort()).toEqual(['/host', '/leaseTtlMs', '/waitingLimit']);
      expect(message).toMatch(/EMP_LEASE_TTL_MS.*EMP_WAITING_LIMIT/s);
      expect(message).toContain('listens on loopback only');
      expect(message).toContain('docs/hub.md');
    }
  });

  test.each(['0.0.0.0', '192.168.1.2', '::', 'example.com', ''])('%j is not listened on', (host) => {
    expect(() => read({}, { host })).toThrow(/loopback/);
  });

  test.each([
    ['127.0.0.1:7700', { host: '127.0.0.1', port: '7700' }],
    ['[::1]:0', { host: '::1', port: '0' }],
    ['localhost', { host: 'localhost' }],
    ['8080', { port: '8080' }],
    [':8080', { port: '8080' }],
    ['0.0.0.0:80', { host: '0.0.0.0', port: '80' }],
    [undefined, {}],
  ])('--listen %s', (listen, flags) => {
    expect(listenFlags(listen)).toEqual(flags);
  });

  test.each(['', 'a:b', '1:2:3', '[::1', 'http://localhost:1'])(
    '--listen %j is refused with an example',
    (listen) => {
      expect(() => listenFlags(listen)).toThrow(/127\.0\.0\.1:7700/);
    },
  );

  test('a lease survives four lost beats, and a closed link leaves less than a lease', () => {
    for (const leaseTtlMs of [500, 1_000, 30_000, 3_600_000]) {
      const config = HubConfig.parse({ leaseTtlMs });
      expect(beatMsOf(config) * 5).toBeLessThan(leaseTtlMs);
      expect(closeRestMsOf(config)).toBeLessThan(leaseTtlMs);
    }
  });
});
