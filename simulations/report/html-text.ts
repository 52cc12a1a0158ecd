/** Markup that has been escaped, or was written here. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Insert = string | number | Markup | readonly (string | number | Markup)[] | null | false;

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A number and its sign stay on one line. */
export function kept(text: string): string {
  return text.replace(/(\d) %/g, '$1\u00a0%');
}

/** Safe between tags and inside quoted attributes. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

function inserted(value: Insert): string {
  if (value === null || value === false) return '';
  if (value instanceof Markup) return value.text;
  if (typeof value === 'string' || typeof value === 'number') return escaped(String(value));
  return value.map(inserted).join('');
}

/** A template whose inserts are escaped unless they are markup; null and false insert nothing. */
export function html(parts: TemplateStringsArray, ...inserts: Insert[]): Markup {
  return new Markup(
    parts
      .map((part, index) => part + (index < inserts.length ? inserted(inserts[index] ?? null) : ''))
      .join(''),
  );
}

/** Data for a script element: no text in it can end the element or begin a comment. */
export function jsonForScript(value: unknown): Markup {
  return new Markup(
    JSON.stringify(value).replace(
      /[<>&\u2028\u2029]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
    ),
  );
}
