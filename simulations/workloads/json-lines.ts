/** Where a JSON text breaks the grammar. Lines and columns count from 1. */
export interface JsonFault {
  line: number;
  column: number;
  detail: string;
}

export type JsonLines =
  | { kind: 'read'; lineOf: (pointer: string) => number }
  | { kind: 'broken'; fault: JsonFault };

const depthLimit = 64;

/**
 * Walks a JSON text (RFC 8259) and remembers the line of each value and key by JSON Pointer. A text that it
 * reads, `JSON.parse` reads too. Stricter in one thing: a key that stands twice in an object is a fault, because
 * the parser would drop the first without a word. `lineOf` answers for a pointer that is not in the text
 * with the line of the nearest thing around it.
 */
export function jsonLines(text: string): JsonLines {
  const walk = new Walk(text);
  try {
    walk.document();
  } catch (error) {
    if (error instanceof Broken)
      return { kind: 'broken', fault: { ...walk.place(error.at), detail: error.message } };
    throw error;
  }
  const { lines } = walk;
  const lineOf = (pointer: string): number => {
    const found = lines.get(pointer);
    if (found !== undefined) return found;
    return pointer === '' ? 1 : lineOf(pointer.slice(0, pointer.lastIndexOf('/')));
  };
  return { kind: 'read', lineOf };
}

class Broken extends Error {
  readonly at: number;
  constructor(at: number, detail: string) {
    super(detail);
    this.at = at;
  }
}

const escaped = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1');

class Walk {
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#blank();
    this.#value('', 0);
    this.#blank();
    if (this.#at < this.#text.length) this.#fail('the document ends here, and more follows');
  }

  place(at: number): { line: number; column: number } {
    const before = this.#text.slice(0, at);
    return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
  }

  #value(pointer: string, depth: number): void {
    if (depth > depthLimit) this.#fail(`values lie more than ${depthLimit} deep`);
    if (!this.lines.has(pointer)) this.lines.set(pointer, this.#line);
    const next = this.#text[this.#at];
    if (next === '{') return this.#object(pointer, depth);
    if (next === '[') return this.#array(pointer, depth);
    if (next === '"') return void this.#string();
    for (const pattern of [/true|false|null/y, /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y]) {
      if (this.#take(pattern) !== null) return;
    }
    this.#fail(next === undefined ? 'the text ends where a value is expected' : 'a value is expected here');
  }

  #object(pointer: string, depth: number): void {
    const seen = new Set<string>();
    this.#items('}', () => {
      const line = this.#line;
      const at = this.#at;
      if (this.#text[at] !== '"') this.#fail('a key in double quotes is expected here');
      const key = this.#string();
      if (seen.has(key)) throw new Broken(at, `the key "${key}" stands twice in this object`);
      seen.add(key);
      const inner = `${pointer}/${escaped(key)}`;
      this.lines.set(inner, line);
      this.#blank();
      if (this.#take(/:/y) === null) this.#fail('a colon is expected here');
      this.#blank();
      this.#value(inner, depth + 1);
    });
  }

  #array(pointer: string, depth: number): void {
    let index = 0;
    this.#items(']', () => this.#value(`${pointer}/${index++}`, depth + 1));
  }

  /** What stands between brackets: nothing, or items with commas between them. */
  #items(close: string, item: () => void): void {
    this.#at++;
    this.#blank();
    if (this.#text[this.#at] === close) return void this.#at++;
    for (;;) {
      item();
      this.#blank();
      const next = this.#text[this.#at];
      if (next !== ',' && next !== close) this.#fail(`a comma or ${close} is expected here`);
      this.#at++;
      if (next === close) return;
      this.#blank();
    }
  }

  #string(): string {
    const at = this.#at;
    const raw = this.#take(/"(?:[^"\\]|\\.)*"/y);
    if (raw === null) throw new Broken(at, 'this string does not end');
    try {
      return JSON.parse(raw) as string;
    } catch {
      throw new Broken(at, 'this string has a line break, a control character or an unknown escape');
    }
  }

  #blank(): void {
    const skipped = this.#take(/[ \t\r\n]+/y) ?? '';
    for (const character of skipped) if (character === '\n') this.#line++;
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? null;
    if (found !== null) this.#at += found.length;
    return found;
  }

  #fail(detail: string): never {
    throw new Broken(this.#at, detail);
  }
}
