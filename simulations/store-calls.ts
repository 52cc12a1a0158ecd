/**
 * Calls of real servers that have not been answered. Virtual time stands still until there are none,
 * so that a history is decided by the seed and not by how fast a server is.
 */
export class StoreCalls {
  readonly #underWay = new Set<Promise<unknown>>();
  #broken: unknown = null;

  /** A call whose failure its caller deals with. */
  track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    const forget = () => this.#underWay.delete(call);
    call.then(forget, forget);
    return call;
  }

  /** Something done to a server itself: if it fails, the run ends with what it said. */
  async command(what: string, act: () => Promise<void>): Promise<void> {
    try {
      await this.track(act());
    } catch (error) {
      this.#broken ??= new Error(`${what} failed`, { cause: error });
    }
  }

  /** The port, with every method tracked. */
  watched<P extends object>(port: P): P {
    return new Proxy(port, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name, target);
        if (typeof method !== 'function') return method;
        return (...args: unknown[]) => this.track(Promise.resolve(method.apply(target, args)));
      },
    });
  }

  /** Resolves when nothing is under way; rejects, once, where a command to a server has failed. */
  readonly settled = async (): Promise<void> => {
    while (this.#underWay.size > 0) {
      await Promise.allSettled(this.#underWay);
      // biome-ignore lint/style/noRestrictedGlobals: one real turn of the event loop, in which callers may ask for more.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const broken = this.#broken;
    this.#broken = null;
    if (broken !== null) throw broken;
  };
}
