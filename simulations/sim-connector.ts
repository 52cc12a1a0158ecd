import { simulatedBytes, simulationConnector } from '#actors/connectors/simulation/simulation-connector.ts';
import { SimulationPayload } from '#actors/connectors/simulation/simulation-spec.ts';
import type {
  Connector,
  ConnectorFactory,
  ConnectorOutput,
  ConnectorResult,
  ConnectorRun,
} from '#protocol/connector.ts';
import type { Disk } from '#protocol/disk.ts';
import type { JsonObject } from '#protocol/json.ts';

/**
 * The production connector of service `simulation`, whose outputs land on a simulated disk instead of
 * the real one. Time, progress, failures and models are the production code's.
 */
export function simConnector(disk: Disk): ConnectorFactory {
  const make = simulationConnector();
  return (context) => {
    const inner: Connector = make(context);
    return {
      spec: inner.spec,
      start: (signal) => inner.start(signal),
      probe: (signal) => inner.probe(signal),
      evict: (modelId) => inner.evict(modelId),
      stop: () => inner.stop(),
      run: (run) => runOn(disk, inner, run),
    };
  };
}

async function runOn(disk: Disk, inner: Connector, run: ConnectorRun): Promise<ConnectorResult> {
  const payload = SimulationPayload.parse(run.payload);
  const result = await inner.run({ ...run, payload: { ...(payload as JsonObject), outputs: 0 } });
  const outputs: ConnectorOutput[] = [];
  for (let index = 0; index < payload.outputs; index++) {
    run.signal.throwIfAborted();
    const name = `output-${index}.bin`;
    const sink = await disk.append(`${run.outDir}/${name}`, 0);
    for (const chunk of simulatedBytes(`${run.jobId}/${index}`, payload.outputBytes)) await sink.write(chunk);
    await sink.close({ sync: true });
    outputs.push({ name, path: `${run.outDir}/${name}`, mime: 'application/octet-stream' });
  }
  return { outputs, data: result.data };
}
