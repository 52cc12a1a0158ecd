import { type CsvReader, csvRefusal, readCsv } from './csv-rows.ts';
import type { Trace } from './trace.ts';
import { ImageTraceReader, imageColumns } from './trace-images.ts';
import { SpotTraceReader, spotColumns } from './trace-spot.ts';
import { azureFormat, mooncakeFormat, TokenTraceReader } from './trace-tokens.ts';

interface TraceFormat {
  name: string;
  columns: readonly string[];
  reader: () => CsvReader<Trace>;
}

/** Traces that make a plan; the header line of a file says which one it is. */
export const traceFormats: readonly TraceFormat[] = [
  { name: 'GenTD26 requests', columns: imageColumns, reader: () => new ImageTraceReader() },
  { name: 'Azure LLM', columns: azureFormat.columns, reader: () => new TokenTraceReader(azureFormat) },
  { name: 'Mooncake', columns: mooncakeFormat.columns, reader: () => new TokenTraceReader(mooncakeFormat) },
  { name: 'spot availability', columns: spotColumns, reader: () => new SpotTraceReader() },
];

/** Files of the same sources that hold no workload, and why. */
const useless: readonly { columns: readonly string[]; why: string }[] = [
  {
    columns: ['seq', 'base_model', 'loras', 'exec_s', 'steps', 'images'],
    why: 'the GenTD26 history has no times of arrival; take the requests',
  },
  {
    columns: ['t_s', 'metric', 'ms', 'container'],
    why: 'the GenTD26 latencies are measurements, not requests; take the requests',
  },
  {
    columns: ['t_s', 'container', 'gpu_pct'],
    why: 'the GenTD26 GPU duty is a measurement, not requests; take the requests',
  },
];

/**
 * Reads one trace, gzipped where its name ends in `.gz`. Throws `VALIDATION_FAILED` with file, line and field
 * for an unknown header, a missing column, a bad number, rows out of order, and a file without rows.
 */
export function readTrace(path: string): Promise<Trace> {
  return readCsv(path, (columns, file) => formatOf(columns, file).reader());
}

function formatOf(columns: readonly string[], file: string): TraceFormat {
  const has = (format: { columns: readonly string[] }) =>
    format.columns.every((column) => columns.includes(column));
  const known = traceFormats.find(has);
  if (known !== undefined) return known;
  const reason = useless.find(has)?.why;
  if (reason !== undefined) throw csvRefusal({ file, line: 1 }, reason);
  const common = (format: TraceFormat) => format.columns.filter((column) => columns.includes(column)).length;
  const [nearest] = [...traceFormats].sort((a, b) => common(b) - common(a));
  if (nearest === undefined || common(nearest) === 0) {
    const all = traceFormats.map((format) => `${format.name} (${format.columns.join(',')})`).join('; ');
    throw csvRefusal({ file, line: 1 }, `the header names none of the known traces: ${all}`);
  }
  const missing = nearest.columns.filter((column) => !columns.includes(column));
  throw csvRefusal(
    { file, line: 1, field: missing.join(', ') },
    `missing; a trace of ${nearest.name} has the columns ${nearest.columns.join(',')}`,
  );
}
