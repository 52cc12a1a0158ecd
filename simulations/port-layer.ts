/** One call of a port method, as a layer around the port sees it. */
export interface PortCall {
  /** Process that calls, e.g. `hub-1`. */
  process: string;
  /** `broker`, `records`, `objects`, … */
  port: string;
  method: string;
  args: readonly unknown[];
}

/** Runs `next` (the layers below and the port itself) when and as often as it likes. */
export type PortLayer = (call: PortCall, next: () => Promise<unknown>) => Promise<unknown>;

/**
 * The port with layers around every method, the first one outermost. All methods of our ports answer
 * promises, so one wrapper serves them all; its type stays that of the port.
 */
export function withLayers<T extends object>(
  port: T,
  options: { process: string; port: string; layers: readonly PortLayer[] },
): T {
  const { process, port: name, layers } = options;
  return new Proxy(port, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function' || typeof property !== 'string') return value;
      return (...args: unknown[]) => {
        const call: PortCall = { process, port: name, method: property, args };
        const run = (at: number): Promise<unknown> => {
          const layer = layers[at];
          return layer ? layer(call, () => run(at + 1)) : Promise.resolve(value.apply(target, args));
        };
        return run(0);
      };
    },
  });
}
