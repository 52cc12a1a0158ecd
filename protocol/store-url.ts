import { EmpError } from './errors.ts';

/** How the URL of a store is written; what differs is refused by name, because drivers pass over it in silence. */
export interface StoreUrlForm {
  /** Environment variable that holds it, for messages. */
  variable: string;
  protocols: readonly string[];
  /** For messages, such as `redis://USER:PASSWORD@HOST:PORT/NUMBER`. */
  form: string;
  /** Names that may stand behind `?`, each once. */
  parameters: readonly string[];
  /** Page that explains it. */
  docs: string;
}

/**
 * Takes a URL apart; `parameters` has those it gives, which are not empty. Throws CONFIG_INVALID for
 * another form, a parameter that is unknown or given twice, and a `#`. Messages repeat names of
 * parameters only, and those only where they look like names: half a password may stand anywhere in a
 * URL in which a `/`, `?` or `#` of it was not escaped.
 */
export function readStoreUrl(
  text: string,
  form: StoreUrlForm,
): { url: URL; parameters: ReadonlyMap<string, string> } {
  if (text.includes('#'))
    throw storeUrlRefusal(form, 'has a #, which ends a URL: in a user or password write %23');
  const url = URL.parse(text);
  if (url === null || !form.protocols.includes(url.protocol))
    throw storeUrlRefusal(form, `has the form ${form.form}`);
  const parameters = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (!form.parameters.includes(name)) throw storeUrlRefusal(form, unknownParameter(name, form));
    if (parameters.has(name)) throw storeUrlRefusal(form, `names ${name} twice: keep one`);
    if (value === '') throw storeUrlRefusal(form, `names ${name} without a value: write ${name}=…`);
    parameters.set(name, value);
  }
  return { url, parameters };
}

function unknownParameter(name: string, { parameters }: StoreUrlForm): string {
  const what = /^[A-Za-z_][A-Za-z0-9_.-]{0,39}$/.test(name)
    ? `has the parameter ${name}, which is not known here: take it out`
    : 'has a ? and behind it no parameter that is known here: take it out, or write %3F where it belongs to a password';
  return `${what}. Known are ${parameters.join(', ')}`;
}

/** `what` goes on after the variable's name. */
export function storeUrlRefusal(
  form: Pick<StoreUrlForm, 'variable' | 'docs'>,
  what: string,
  cause?: unknown,
): EmpError {
  return new EmpError('CONFIG_INVALID', { detail: `${form.variable} ${what}; see ${form.docs}`, cause });
}
