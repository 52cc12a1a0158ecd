/**
 * Parsed JSON documents that never change under their id, each read and parsed once. The id may be the text
 * itself. All who ask get one object, which nobody changes. Begins anew when full, because ids come from outside.
 */
export class Documents<T> {
  readonly #parsed = new Map<string, T>();
  readonly #limit: number;

  constructor(options: { limit: number }) {
    this.#limit = options.limit;
  }

  /** `text` is asked for, and parsed as JSON, where the id is not known yet. */
  get(id: string, text: () => string): T {
    const known = this.#parsed.get(id);
    if (known !== undefined) return known;
    if (this.#parsed.size >= this.#limit) this.#parsed.clear();
    const parsed = JSON.parse(text()) as T;
    this.#parsed.set(id, parsed);
    return parsed;
  }
}
