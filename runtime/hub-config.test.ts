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

  test('a number that is none, or out of range, is repeated with what is expected; a secret is not', () => {
    const message = (variables: Record<string, string>) => {
      try {
        read(variables);
      } catch (error) {
        return toEmpError(error).message;
      }
      throw new Error('the config was taken');
    };
    const expected = 'is not a whole number from 500 to 3600000';
    expect(message({ EMP_LEASE_TTL_MS: 'abc' })).toContain(`EMP_LEASE_TTL_MS: "abc" ${expected}`);
    expect(message({ EMP_LEASE_TTL_MS: '4' })).toContain(`EMP_LEASE_TTL_MS: "4" ${expected}`);
    expect(message({ EMP_AGE_WEIGHT: 'x' })).toContain('"x" is not a number from 0 to 100');
    expect(message({ EMP_REDIS_LOADER: 'lua' })).toContain('"lua" is none of auto, function, evalsha');
    expect(message({ REDIS_URL: 'top-secret' })).not.toContain('top-secret');
  });

  const redis = 'redis://127.0.0.1:6379';
  const database = 'postgresql://emp@127.0.0.1:5432/emp';

  test('the stores have the names that everybody uses, also the older ones', () => {
    const stores = { REDIS_URL: redis, DATABASE_URL: database, EMP_DATA_DIR: '/data' };
    expect(read(stores)).toMatchObject({ redisUrl: redis, databaseUrl: database });
    expect(read({ REDIS_SERVER_URL: redis }).redisUrl).toBe(redis);
    expect(read({ EMP_REDIS_URL: redis, EMP_DATABASE_URL: database })).toMatchObject({
      redisUrl: null,
      databaseUrl: null,
    });
  });

  test('REDIS_SERVER_TOKEN is the password of a URL that has none', () => {
    const token = { REDIS_SERVER_TOKEN: 'a/b c' };
    expect(read({ REDIS_SERVER_URL: 'rediss://default@host:1', ...token }).redisUrl).toBe(
      'rediss://default:a%2Fb%20c@host:1',
    );
    expect(read({ REDIS_URL: 'redis://:own@host:1', ...token }).redisUrl).toBe('redis://:own@host:1');
  });

  test.each([
    [{ REDIS_URL: redis, REDIS_SERVER_URL: 'redis://other:1' }, /name two servers/],
    [{ REDIS_URL: 'localhost:6379' }, /REDIS_URL: has the form redis:/],
    [{ REDIS_SERVER_URL: 'https://secret@host' }, /REDIS_SERVER_URL: has the form redis:/],
    [{ DATABASE_URL: 'mysql://u:secret@host/d', REDIS_URL: redis }, /DATABASE_URL: has the form postgresql:/],
    [{ DATABASE_URL: database, EMP_DATA_DIR: '/data' }, /REDIS_URL is not/],
    [{ DATABASE_URL: database, REDIS_URL: redis }, /no data folder/],
    [{ EMP_REDIS_PREFIX: 'a b' }, /EMP_REDIS_PREFIX: has 1 to 64/],
    [{ EMP_REDIS_PROTOCOL: '4' }, /EMP_REDIS_PROTOCOL: is 2 or 3/],
    [{ EMP_REDIS_ALLOW_UNKNOWN_EVICTION: 'yes' }, /EMP_REDIS_ALLOW_UNKNOWN_EVICTION/],
  ])('stores %j are refused by name, without the password', (variables, message) => {
    try {
      read(variables);
      throw new Error('the config was taken');
    } catch (error) {
      const failure = toEmpError(error);
      expect(failure.code).toBe('CONFIG_INVALID');
      expect(failure.message).toMatch(message);
      expect(failure.message).not.toContain('secret');
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

  test('a lease survives all beats lost but one, and a closed link leaves less than a lease', () => {
    for (const leaseTtlMs of [500, 1_000, 30_000, 3_600_000]) {
      const config = HubConfig.parse({ leaseTtlMs });
      expect(beatMsOf(config) * 5).toBeLessThan(leaseTtlMs);
      expect(beatMsOf({ ...config, beatsPerLease: 3 }) * 2).toBeLessThan(leaseTtlMs);
      expect(closeRestMsOf(config)).toBeLessThan(leaseTtlMs);
    }
  });

  test('fewer than three beats in a lease are refused by name', () => {
    expect(() => readHubConfig({ variables: { EMP_BEATS_PER_LEASE: '2' }, flags: {} })).toThrow(
      /EMP_BEATS_PER_LEASE/,
    );
  });
});
