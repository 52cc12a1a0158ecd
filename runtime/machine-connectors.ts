import type { ConnectorFactory } from '#protocol/connector.ts';
import { EmpError } from '#protocol/errors.ts';

interface BuiltIn {
  /** Slots where the configuration names none. */
  slots: number;
  /** Loaded only where it is offered: some bring libraries of many megabytes. */
  load: (options: { slots: number; simulationCrash: boolean }) => Promise<ConnectorFactory>;
}

/** Connectors that come with the package, by service. */
const BUILT_IN: Record<string, BuiltIn> = {
  simulation: {
    slots: 4,
    load: async ({ simulationCrash }) =>
      (await import('#actors/connectors/simulation/simulation-connector.ts')).simulationConnector({
        allowCrash: simulationCrash,
      }),
  },
  image: {
    slots: 1,
    load: async ({ slots }) =>
      (await import('#actors/connectors/image/image-connector.ts')).imageConnector({ workers: slots }),
  },
  upscale: {
    slots: 1,
    load: async ({ slots }) =>
      (await import('#actors/connectors/upscale/upscale-connector.ts')).upscaleConnector({ workers: slots }),
  },
};

export const builtInConnectors: readonly string[] = Object.keys(BUILT_IN);

/** Factories of the services that a machine is to offer. Rejects with `CONFIG_INVALID` naming those it does not know. */
export async function loadConnectors(
  services: readonly { service: string; slots: number | null }[],
  options: { simulationCrash: boolean },
): Promise<Record<string, { factory: ConnectorFactory; slots: number }>> {
  const unknown = services
    .filter(({ service }) => !Object.hasOwn(BUILT_IN, service))
    .map(({ service }) => service);
  if (unknown.length > 0) {
    throw new EmpError('CONFIG_INVALID', {
      detail: `EMP_SERVICES: no connector for ${unknown.join(', ')}; there are ${builtInConnectors.join(', ')}`,
    });
  }
  const loaded = await Promise.all(
    services.map(async ({ service, slots: wanted }) => {
      const { slots: usual, load } = BUILT_IN[service] as BuiltIn;
      const slots = wanted ?? usual;
      return [service, { factory: await load({ slots, ...options }), slots }] as const;
    }),
  );
  return Object.fromEntries(loaded);
}
