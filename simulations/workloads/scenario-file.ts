import { basename } from 'node:path';
import { EmpError, type FieldError } from '#protocol/errors.ts';
import { fieldErrors } from '#runtime/hub/problem.ts';
import { jsonLines } from './json-lines.ts';
import { Scenario } from './scenario.ts';

/** Wrong places that one message tells; all of them are in `errors`. */
const toldLimit = 5;

/**
 * A scenario from the text of a JSON file; a name that it leaves out is the file's own. Every wrong
 * place is told with file, line and field: `VALIDATION_FAILED`, its `errors` hold all of them and
 * `fields` the first one's line.
 */
export function parseScenario(text: string, file: string): Scenario {
  const lines = jsonLines(text);
  if (lines.kind === 'broken') {
    const { line, column, detail } = lines.fault;
    throw new EmpError('VALIDATION_FAILED', {
      detail: `${file}:${line}: column ${column}: ${detail}`,
      fields: { file, line },
    });
  }
  const document: unknown = JSON.parse(text);
  const parsed = Scenario.safeParse(named(document, file));
  if (parsed.success) return parsed.data;
  const errors = fieldErrors(parsed.error).map((error) => ({ ...error, detail: advice(error) }));
  const told = errors.slice(0, toldLimit).map((error) => {
    const field = error.pointer === '' ? 'the document' : error.pointer.slice(1).replaceAll('/', '.');
    return `${file}:${lines.lineOf(error.pointer)}: ${field}: ${error.detail}`;
  });
  const more = errors.length > told.length ? [`and ${errors.length - told.length} more`] : [];
  throw new EmpError('VALIDATION_FAILED', {
    detail: [...told, ...more].join('\n'),
    errors,
    fields: { file, line: lines.lineOf(errors[0]?.pointer ?? '') },
  });
}

function named(document: unknown, file: string): unknown {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return document;
  const name = basename(file)
    .replace(/\.json$/i, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9+._-]+/g, '-');
  return 'name' in document ? document : { ...document, name };
}

function advice(error: FieldError): string {
  if (error.detail !== 'this field is not known here') return error.detail;
  return `${error.detail}; take it out, or see the list of fields in docs/workloads.md`;
}
