import { EmpError } from '#protocol/errors.ts';

/** Longest key, and longest part of it between slashes: a file name with a suffix must fit a disk's 255. */
const keyLimit = 512;
const segmentLimit = 200;
const segment = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Why a key cannot be used, or null: parts of A-Z a-z 0-9 . _ - that begin with a letter or digit, joined by slashes. */
export function objectKeyProblem(key: string): string | null {
  if (key.length === 0 || key.length > keyLimit) return `has 1 to ${keyLimit} characters`;
  for (const part of key.split('/')) {
    if (part.length > segmentLimit) return `has at most ${segmentLimit} characters between slashes`;
    if (!segment.test(part))
      return 'has parts of A-Z a-z 0-9 . _ - that begin with a letter or digit, joined by /';
  }
  return null;
}

export function invalidField(pointer: string, detail: string): EmpError {
  return new EmpError('VALIDATION_FAILED', {
    detail: `${pointer.slice(1)} ${detail}`,
    errors: [{ pointer, detail }],
  });
}

/** Throws `VALIDATION_FAILED` naming `key`. */
export function checkObjectKey(key: string): string {
  const problem = objectKeyProblem(key);
  if (problem === null) return key;
  throw invalidField('/key', problem);
}
