import { type CommandContext, connect } from './context.ts';
import { bytes } from './format.ts';

/** `emp models`: what is registered, and on which machines it lies now. */
export async function models(context: CommandContext): Promise<void> {
  const { out, signal } = context;
  const client = await connect(context);
  const [items, machines] = await Promise.all([client.models({ signal }), client.machines({ signal })]);
  const placed = items.map((manifest) => ({
    ...manifest,
    machines: machines.flatMap(({ machineId, residency }) =>
      residency
        .filter((entry) => entry.modelId === manifest.id && entry.state !== 'gone')
        .map(({ state, fraction }) => ({ machineId, state, fraction })),
    ),
  }));
  out.result({ items: placed }, () =>
    out.table(
      ['ID', 'SERVICE', 'KIND', 'SIZE', 'MEMORY', 'LICENCE', 'ON'],
      placed.map((model) => [
        model.id,
        model.service,
        model.kind,
        bytes(model.files.reduce((sum, file) => sum + file.bytes, 0)),
        `${model.memoryMb} MB`,
        model.licence,
        model.machines
          .map(({ machineId, state, fraction }) =>
            state === 'fetching' ? `${machineId} (${Math.round(fraction * 100)} %)` : machineId,
          )
          .join(', ') || '-',
      ]),
    ),
  );
}

/** `emp models register`: uploads the built-in networks and registers them; again changes nothing. */
export async function register(context: CommandContext): Promise<void> {
  const { out, signal } = context;
  const client = await connect(context);
  const { registerBuiltInModels } = await import('#runtime/demo/register-models.ts');
  const ids = await registerBuiltInModels(client, { signal, onModel: (id) => out.note(`registering ${id}`) });
  out.result({ registered: ids }, () => {
    for (const id of ids) out.line(id);
  });
}
