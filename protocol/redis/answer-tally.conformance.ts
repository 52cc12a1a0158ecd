/** How often each kind of operation was answered in each way. */
export class AnswerTally {
  readonly #reached = new Map<string, number>();

  get reached(): ReadonlyMap<string, number> {
    return this.#reached;
  }

  /** Counts an answer and those that are within it. */
  count(operation: string, answer: unknown): void {
    const fields = Object.entries(answer ?? {});
    const names = fields.flatMap(([field, value]) => {
      if (field === 'kind' || field === 'error') return [String(value)];
      const isWorthCounting = Array.isArray(value) ? value.length > 0 : value === true || isRef(value);
      return isWorthCounting ? [`with ${field}`] : [];
    });
    for (const name of names) {
      const reached = `${operation} ${name}`;
      this.#reached.set(reached, (this.#reached.get(reached) ?? 0) + 1);
    }
    for (const each of answersWithin(answer)) this.count(operation, each);
  }
}

function answersWithin(answer: unknown): unknown[] {
  const fields = (answer ?? {}) as Record<string, unknown>;
  const lists = ['answers', 'events', 'completions', 'claims'].map((name) => fields[name]);
  const within = lists.flatMap((list): unknown[] => (Array.isArray(list) ? list : []));
  return [...within, fields['lease']].filter((each) => each !== undefined);
}

function isRef(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'machineId' in value;
}
