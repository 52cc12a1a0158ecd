import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hourMs } from './arrivals.ts';
import { scenarioNamed } from './builtin-scenarios.ts';
import { planDay } from './plan-day.ts';
import { readTrace } from './read-trace.ts';

/**
 * The recorded traces are not part of the repository: their licences do not let everybody pass them on. Where
 * EMP_TRACE_DIR names a folder with them, the importers are tested on them too.
 */
const folder = process.env['EMP_TRACE_DIR'];
const reason = 'EMP_TRACE_DIR names no folder with recorded traces';

const recorded = (name: string, body: (path: (file: string) => string) => Promise<void>) =>
  test(name, async (context) => {
    if (folder === undefined || !existsSync(folder)) return context.skip(reason);
    await body((file) => join(folder, file));
  });

describe('recorded traces', () => {
  recorded('GenTD26: its figures are those that were published', async (path) => {
    const trace = await readTrace(path('gentd26_requests_dev.csv.gz'));
    if (trace.kind !== 'images') throw new Error(`read as ${trace.kind}`);
    expect([trace.requests.length, trace.skipped]).toEqual([15_615, 15]);
    const families = [...trace.families.values()];
    expect(families.filter((family) => family === 'flux')).toHaveLength(2);
    expect(trace.requests.filter((one) => one.loras.length > 0).length / trace.requests.length).toBeCloseTo(
      0.16,
      2,
    );
    const last = new Map<string, { atMs: number; set: string }>();
    let seen = 0;
    let same = 0;
    for (const { atMs, user, base, loras } of trace.requests) {
      const before = last.get(user);
      const set = [base, ...loras].join();
      if (before !== undefined && before.atMs >= atMs - hourMs) {
        seen++;
        if (before.set === set) same++;
      }
      last.set(user, { atMs, set });
    }
    expect(seen / trace.requests.length).toBeCloseTo(0.78, 2);
    expect(same / seen).toBeCloseTo(0.68, 2);
  });

  recorded('a day of GenTD26 and Azure: every request is a job that the largest card holds', async (path) => {
    const files = ['gentd26_requests_dev.csv.gz', 'azure_llm2023_conv_dev.csv.gz'];
    const traces = await Promise.all(files.map((file) => readTrace(path(file))));
    const { jobs, models, machines } = planDay({ scenario: scenarioNamed('day'), seed: 1, load: 1, traces });
    expect(jobs.filter((job) => job.kind === 'image')).toHaveLength(15_615);
    expect(jobs.filter((job) => job.kind === 'llm')).toHaveLength(12_340);
    const known = new Set(models.map((model) => model.id));
    const largest = Math.max(...machines.map((machine) => machine.vramMb));
    expect(jobs.every((job) => job.vramMb < largest && job.models.every((id) => known.has(id)))).toBe(true);
    const hours = new Array<number>(24).fill(0);
    for (const { atMs } of jobs) hours[Math.floor(atMs / hourMs)]! += 1;
    expect(Math.max(...hours) / (jobs.length / 24)).toBeLessThan(1.9);
  });

  recorded('spot availability of AWS is far harsher than the standard losses', async (path) => {
    const trace = await readTrace(path('spot_traces_rle_dev.csv.gz'));
    if (trace.kind !== 'spot') throw new Error(`read as ${trace.kind}`);
    expect(trace.lanes).toHaveLength(88);
    const lost = (traces: (typeof trace)[]) => {
      const { machines } = planDay({ scenario: scenarioNamed('day'), seed: 1, load: 0.01, traces });
      return machines.filter((machine) => machine.ending === 'lost').length;
    };
    expect(lost([trace])).toBeGreaterThan(3 * lost([]));
  });

  recorded('files of the same source that are no workload are refused with the reason', async (path) => {
    for (const file of ['history_untimed', 'latencies', 'gpu_duty_5min']) {
      await expect(readTrace(path(`gentd26_${file}_dev.csv.gz`))).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        message: expect.stringContaining('take the requests'),
      });
    }
  });
});
