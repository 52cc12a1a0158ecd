import { describe, expect, test } from 'vitest';
import { checkResult } from './job-run.ts';

const outDir = '/runs/j1.5/out';

describe('the result of a service', () => {
  test('its data is measured in bytes, as the hub measures it', () => {
    // Two bytes of quotes and two for each letter: few characters, many bytes.
    expect(() => checkResult({ outputs: [], data: 'é'.repeat(32_767) }, outDir)).not.toThrow();
    expect(() => checkResult({ outputs: [], data: 'é'.repeat(32_768) }, outDir)).toThrow(
      expect.objectContaining({
        code: 'JOB_FAILED',
        retryable: false,
        message: expect.stringContaining('65538 bytes'),
      }),
    );
  });

  test('an output outside of the folder of its run is refused', () => {
    const output = { name: 'a.txt', path: `${outDir}/../../secret`, mime: 'text/plain' };
    expect(() => checkResult({ outputs: [output], data: null }, outDir)).toThrow(
      expect.objectContaining({ code: 'CONNECTOR_FAILED', retryable: false }),
    );
  });
});
