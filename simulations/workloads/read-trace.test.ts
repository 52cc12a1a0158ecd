import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EmpError } from '#protocol/errors.ts';
import { csvLimits } from './csv-rows.ts';
import { readTrace } from './read-trace.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traces-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(text: string | Buffer, name = 'trace.csv') {
  const path = join(folder, name);
  await writeFile(path, text);
  return await readTrace(path);
}

async function refusal(text: string | Buffer, name = 'trace.csv'): Promise<EmpError> {
  const end = await read(text, name).catch((error: unknown) => error);
  if (end instanceof EmpError && end.code === 'VALIDATION_FAILED') return end;
  throw new Error(`nothing was refused: ${String(end)}`);
}

const images = 't_s,predict_type,status,exec_s,group,prompt_chars,images,steps,base_model,loras';
const imageRow = (change: Record<string, string | number> = {}) => {
  const row: Record<string, string | number> = {
    t_s: 10,
    predict_type: 'TXT_2_IMG',
    status: 'SUCCEED',
    exec_s: '32.0',
    group: 'G0000',
    prompt_chars: '63.0',
    images: '1.0',
    steps: '30.0',
    base_model: 'M0000',
    loras: '',
    ...change,
  };
  return images
    .split(',')
    .map((column) => row[column])
    .join(',');
};
const azure = 't_s,context_tokens,generated_tokens';
const spot = 'trace,start_s,end_s,instances';
const csv = (...lines: string[]) => `${lines.join('\n')}\n`;

describe('GenTD26 requests', () => {
  test('a row is a request with its user, base model, LoRAs and warm run', async () => {
    const trace = await read(csv(images, imageRow({ t_s: '61070.5', loras: 'L0001|L0002' })));
    expect(trace).toEqual({
      kind: 'images',
      file: 'trace.csv',
      requests: [
        { atMs: 61_070_500, user: 'G0000', base: 'M0000', loras: ['L0001', 'L0002'], runMs: 27_200 },
      ],
      families: new Map([['M0000', 'sdxl']]),
      skipped: 0,
    });
  });

  test('a warm run is 0.85 of the 25th percentile of the same model, steps and images', async () => {
    const like = [40, 20, 24, 100, 22].map((exec_s) => imageRow({ exec_s }));
    const other = imageRow({ exec_s: 10, steps: 20 });
    const trace = await read(csv(images, ...like, other));
    const runs = trace.kind === 'images' ? trace.requests.map((one) => one.runMs) : [];
    expect(runs).toEqual([...Array(5).fill(18_700), 8_500]);
  });

  test('families follow the median run time of the base model: under 20 s, under 55 s, longer', async () => {
    const rows = [
      ['A', 19.9],
      ['B', 20],
      ['C', 54.9],
      ['D', 55],
      ['E', 5],
      ['E', 300],
      ['E', 6],
    ] as const;
    const trace = await read(
      csv(images, ...rows.map(([base_model, exec_s]) => imageRow({ base_model, exec_s }))),
    );
    expect(trace).toMatchObject({
      families: new Map([
        ['A', 'sd15'],
        ['B', 'sdxl'],
        ['C', 'sdxl'],
        ['D', 'flux'],
        ['E', 'sd15'],
      ]),
    });
  });

  test('rows that never ran are left out and counted, failed ones are replayed', async () => {
    const pending = imageRow({ status: 'PENDING', exec_s: '0.0', images: '', steps: '', base_model: '' });
    const trace = await read(csv(images, pending, imageRow({ status: 'FAILED' }), pending));
    expect(trace).toMatchObject({ skipped: 2, requests: [{ base: 'M0000' }] });
  });

  test('a run of no time takes half a second', async () => {
    expect(await read(csv(images, imageRow({ exec_s: 0 })))).toMatchObject({ requests: [{ runMs: 500 }] });
  });

  test.each([
    [{ t_s: 'noon' }, 't_s', '"noon" is no number from 0'],
    [{ t_s: -1 }, 't_s', '"-1" is no number'],
    [{ t_s: 9 }, 't_s', 'it is earlier than the row before; sort the rows by t_s'],
    [{ exec_s: '' }, 'exec_s', '"" is no number'],
    [{ exec_s: 'NaN' }, 'exec_s', '"NaN" is no number'],
    [{ exec_s: 'Infinity' }, 'exec_s', 'is no number'],
    [{ exec_s: '0x10' }, 'exec_s', 'is no number'],
    [{ exec_s: 1e9 }, 'exec_s', 'is no number from 0 to 604800'],
    [{ status: 'DONE' }, 'status', '"DONE" is none of SUCCEED, FAILED, PENDING'],
    [{ base_model: '' }, 'base_model', '"" is no name'],
    [{ base_model: '../etc' }, 'base_model', 'is no name'],
    [{ group: '' }, 'group', 'is no name'],
    [{ images: '' }, 'images', '"" is no number'],
    [{ steps: '-3' }, 'steps', 'is no number'],
    [{ loras: 'L1||L2' }, 'loras', '"" is no name; names are joined by |'],
    [{ loras: Array.from({ length: 17 }, (_, i) => `L${i}`).join('|') }, 'loras', 'more than 16'],
  ])('%j is refused with file, line and field', async (change, field, detail) => {
    const error = await refusal(csv(images, imageRow(), imageRow(change)));
    expect(error.message).toContain(`trace.csv:3: ${field}: `);
    expect(error.message).toContain(detail);
    expect(error.fields).toEqual({ file: 'trace.csv', line: 3, field });
  });
});

describe('traces of language models', () => {
  test('Azure counts seconds, Mooncake ms', async () => {
    const expected = { kind: 'tokens', requests: [{ atMs: 52, prompt: 3180, generated: 8 }] };
    expect(await read(csv(azure, '0.052,3180,8'))).toMatchObject(expected);
    expect(await read(csv('t_ms,input_tokens,output_tokens,prefix_blocks', '52,3180,8,14'))).toMatchObject(
      expected,
    );
  });

  test('bad numbers and rows out of order are refused', async () => {
    expect((await refusal(csv(azure, '1,1,1', '0.5,1,1'))).message).toContain(
      'trace.csv:3: t_s: it is earlier',
    );
    expect((await refusal(csv(azure, '1,-1,1'))).message).toContain(
      'trace.csv:2: context_tokens: "-1" is no number',
    );
    expect((await refusal(csv(azure, '1,1,many'))).message).toContain(
      'trace.csv:2: generated_tokens: "many"',
    );
  });
});

describe('spot availability', () => {
  test('each instance is a lane, and neighbouring runs are one life', async () => {
    const trace = await read(csv(spot, 'a,0,10,1', 'a,10,20,2', 'a,20,30,0', 'a,30,40,1', 'b,0,50,1'));
    const s = (from: number, until: number) => ({ fromMs: from * 1000, untilMs: until * 1000 });
    expect(trace).toEqual({
      kind: 'spot',
      file: 'trace.csv',
      lanes: [
        { lengthMs: 40_000, alive: [s(0, 20), s(30, 40)] },
        { lengthMs: 40_000, alive: [s(10, 20)] },
        { lengthMs: 50_000, alive: [s(0, 50)] },
      ],
    });
  });

  test('a trace in which nothing ever lived is a lane that delivers nothing', async () => {
    expect(await read(csv(spot, 'a,0,10,0'))).toMatchObject({ lanes: [{ lengthMs: 10_000, alive: [] }] });
  });

  test.each([
    ['a,10,10,1', 'end_s', 'it must be later than start_s'],
    ['a,5,20,1', 'start_s', 'it is earlier than the end of the row before in trace "a"'],
    ['a,10,20,1.5', 'instances', 'a whole number is expected'],
    ['a,10,20,1001', 'instances', 'is no number from 0 to 1000'],
    [',10,20,1', 'trace', 'a name of 1 to 200 characters is expected'],
  ])('%s is refused', async (row, field, detail) => {
    const error = await refusal(csv(spot, 'a,0,10,1', row));
    expect(error.message).toContain(`trace.csv:3: ${field}: `);
    expect(error.message).toContain(detail);
  });
});

describe('any trace', () => {
  test('it may be gzipped, end without a line feed, have line ends of Windows and a byte order mark', async () => {
    const plain = await read(csv(azure, '1,2,3', '2,3,4'));
    expect(await read(gzipSync(csv(azure, '1,2,3', '2,3,4')), 'trace.csv.gz')).toEqual({
      ...plain,
      file: 'trace.csv.gz',
    });
    expect(await read(`${azure}\n1,2,3\n2,3,4`)).toEqual(plain);
    expect(await read(`\uFEFF${azure}\r\n1,2,3\r\n2,3,4\r\n`)).toEqual(plain);
  });

  test('columns may stand in another order, and more of them', async () => {
    const expected = await read(csv(azure, '1,2,3'));
    expect(await read(csv('generated_tokens,extra,t_s,context_tokens', '3,x,1,2'))).toEqual(expected);
  });

  test.each([
    ['', 'it is empty'],
    [csv(azure), 'it has a header and no rows'],
    [csv('a,b,c', '1,2,3'), 'the header names none of the known traces: GenTD26 requests (t_s,'],
    [csv('t_s,context_tokens', '1,2'), 'generated_tokens: missing; a trace of Azure LLM has the columns'],
    [csv('t_s,t_s,context_tokens', '1,1,2'), 'two columns have the same name'],
    [csv('seq,base_model,loras,exec_s,steps,images', '0,M,,1,1,1'), 'has no times of arrival'],
    [csv('t_s,metric,ms,container', '0,predict,1,C'), 'are measurements, not requests'],
    [csv('t_s,container,gpu_pct', '0,C,1'), 'is a measurement, not requests'],
    [csv(azure, '1,2'), 'trace.csv:2: it has 2 cells, the header names 3 columns'],
    [csv(azure, '1,2,3', '', '2,2,3'), 'trace.csv:3: it has 1 cells'],
    [csv(azure, '"1",2,3'), 'trace.csv:2: quoted cells are not read'],
    [
      csv(azure, '1,2,3', 'x'.repeat(csvLimits.lineCharacters + 1)),
      'trace.csv:3: more than 65536 characters',
    ],
    [`${azure}\n${'x'.repeat(csvLimits.lineCharacters + 1)}`, 'trace.csv:2: more than 65536 characters'],
    [Array.from({ length: 201 }, (_, i) => `c${i}`).join(','), 'more than 200 columns'],
  ])('%# is refused', async (text, detail) => {
    expect((await refusal(text)).message).toContain(detail);
  });

  test('what is no gzip, no text, cut off or not there is refused with its file', async () => {
    const zipped = gzipSync(csv(azure, ...Array.from({ length: 500 }, (_, i) => `${i},${i * 7},3`)));
    for (const [text, name] of [
      [csv(azure, '1,2,3'), 'plain.csv.gz'],
      [zipped.subarray(0, zipped.length - 20), 'cut.csv.gz'],
      [Buffer.from([0xff, 0xfe, 0x41, 0x00]), 'utf16.csv'],
    ] as const) {
      expect((await refusal(Buffer.from(text), name)).message).toMatch(
        new RegExp(`^${name}: the file cannot be read: `),
      );
    }
    await expect(readTrace(join(folder, 'none.csv'))).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
      message: expect.stringContaining('none.csv: the file cannot be read'),
    });
  });

  test('whatever was written is read back, however the file is cut into chunks', async () => {
    const rows = fc.array(
      fc.record({ atMs: fc.nat(100_000_000), prompt: fc.nat(9_999), generated: fc.nat(999) }),
      {
        minLength: 1,
        maxLength: 50,
      },
    );
    await fc.assert(
      fc.asyncProperty(rows, async (drawn) => {
        const requests = drawn
          .map(({ atMs, prompt, generated }) => ({ atMs, prompt, generated }))
          .sort((a, b) => a.atMs - b.atMs);
        const lines = requests.map((one) => `${one.atMs},${one.prompt},${one.generated},0`);
        const trace = await read(csv('t_ms,input_tokens,output_tokens,prefix_blocks', ...lines));
        expect(trace).toMatchObject({ requests });
      }),
      { numRuns: 30 },
    );
  });

  test('a file larger than one chunk keeps every row', async () => {
    const lines = Array.from({ length: 40_000 }, (_, i) => `${i},${i},${i % 7}`);
    const trace = await read(gzipSync(csv(azure, ...lines)), 'large.csv.gz');
    expect(trace.kind === 'tokens' && trace.requests).toHaveLength(40_000);
    expect(trace).toHaveProperty('requests.39999', {
      atMs: 39_999_000,
      prompt: 39_999,
      generated: 39_999 % 7,
    });
  });

  test('a damaged file is read or refused with its name, never anything else', async () => {
    const base = csv(
      images,
      imageRow(),
      imageRow({ t_s: 20, loras: 'L1' }),
      imageRow({ t_s: 30, exec_s: 50 }),
    );
    const damages = fc.tuple(fc.nat(base.length - 1), fc.nat(5), fc.string({ maxLength: 4 }));
    await fc.assert(
      fc.asyncProperty(damages, async ([at, cut, put]) => {
        const text = base.slice(0, at) + put + base.slice(at + cut);
        const end = await read(text).catch((error: unknown) => error);
        if (end instanceof Error) {
          expect(end).toMatchObject({ name: 'EmpError', code: 'VALIDATION_FAILED' });
          expect(end.message).toMatch(/^trace\.csv/);
        } else expect(end).toMatchObject({ kind: 'images' });
      }),
      { numRuns: 150 },
    );
  });
});
