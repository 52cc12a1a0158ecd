import { z } from 'zod';

/** Longest value that a message repeats, characters. */
const shownCharacters = 80;

interface Form {
  type?: unknown;
  minimum?: number;
  maximum?: number;
  enum?: unknown[];
}

/**
 * What is wrong with a setting, for whoever set it: of numbers and of lists of words the value as it was
 * given and what is taken instead. Anything else may be a secret and is not repeated: the issue says it.
 */
export function settingProblem(
  schema: z.ZodType | undefined,
  value: unknown,
  { code, message }: { code: string; message: string },
): string {
  const form: Form = schema === undefined ? {} : z.toJSONSchema(schema, { unrepresentable: 'any' });
  if (code === 'custom' || value === undefined || value === null) return message;
  const shown = JSON.stringify(String(value).slice(0, shownCharacters));
  if (form.enum !== undefined) return `${shown} is none of ${form.enum.join(', ')}`;
  if (form.type !== 'integer' && form.type !== 'number') return message;
  return `${shown} is not a ${form.type === 'integer' ? 'whole number' : 'number'}${bounds(form)}`;
}

function bounds({ minimum, maximum }: Form): string {
  if (minimum === undefined) return maximum === undefined ? '' : ` up to ${maximum}`;
  return maximum === undefined ? ` from ${minimum} on` : ` from ${minimum} to ${maximum}`;
}
