import type { z } from 'zod';
import { CliError } from './errors.ts';

/**
 * A name or id as it was typed, where it has the form of one. What has another form cannot exist: that is
 * a usage error and not one of a hub, which would know nothing under it. `list` is the command that lists them.
 */
export function typed(schema: z.ZodType<string>, text: string, list: string): string {
  const parsed = schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new CliError(
    'EMP-USAGE',
    `${JSON.stringify(text)}: ${parsed.error.issues[0]?.message ?? 'no name'}`,
    {
      likely: 'it is misspelt, or a quote is missing',
      try: list,
    },
  );
}
