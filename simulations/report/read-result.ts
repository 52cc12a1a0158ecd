import { readFile, stat } from 'node:fs/promises';
import { SimResult } from '#simulations/day/result.ts';

/** A result with all series of 64 policies stays far below this. */
const fileLimitBytes = 256 * 1024 * 1024;
const problemLimit = 10;

export type ReadResult =
  | { kind: 'read'; result: SimResult }
  /** `problems` name the field by its path; the file itself where the field is empty. */
  | { kind: 'refused'; file: string; problems: { field: string; problem: string }[] };

function refusal(file: string, problem: string): ReadResult {
  return { kind: 'refused', file, problems: [{ field: '', problem }] };
}

/** Field as people write it: `policies.fifo.series.busyShare[3]`. */
function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (field, part) =>
      typeof part === 'number'
        ? `${field}[${part}]`
        : field === ''
          ? String(part)
          : `${field}.${String(part)}`,
    '',
  );
}

/** `{…}` of a file that `emp sim run --json` wrote, or what is wrong with it. */
export async function readResult(file: string): Promise<ReadResult> {
  let text: string;
  try {
    const info = await stat(file);
    if (!info.isFile()) return refusal(file, 'is not a file');
    if (info.size > fileLimitBytes) return refusal(file, `is larger than ${fileLimitBytes} bytes`);
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return refusal(file, code === 'ENOENT' ? 'does not exist' : `cannot be read (${code ?? String(error)})`);
  }
  return parseResult(file, text);
}

/** The same of text that has been read; `file` names it in a refusal. */
export function parseResult(file: string, text: string): ReadResult {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return refusal(file, `is not JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  const parsed = SimResult.safeParse(value);
  if (parsed.success) return { kind: 'read', result: parsed.data };
  const problems = parsed.error.issues.map(({ path, message }) => ({
    field: fieldOf(path),
    problem: message,
  }));
  const rest = problems.length - problemLimit;
  return {
    kind: 'refused',
    file,
    problems:
      rest > 0
        ? [...problems.slice(0, problemLimit), { field: '', problem: `and ${rest} more fields` }]
        : problems,
  };
}
