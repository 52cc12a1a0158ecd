import { fromPromise } from 'xstate';
import type { Connector } from '#protocol/connector.ts';
import type { Clock } from '#protocol/env.ts';
import { EmpError } from '#protocol/errors.ts';
import { withDeadline } from './deadline.ts';

/** Effects of a connector's actor. The connectors outlive it: a crashed actor starts the same one again. */
export function connectorActors({
  clock,
  connectors,
  stopMs,
}: {
  clock: Clock;
  connectors: ReadonlyMap<string, Connector>;
  stopMs: number;
}) {
  const find = (service: string): Connector => {
    const connector = connectors.get(service);
    if (connector === undefined)
      throw new EmpError('CONNECTOR_FAILED', { detail: `no connector for ${service} is configured` });
    return connector;
  };
  return {
    start: fromPromise<void, { service: string; limitMs: number }>(({ input, signal }) =>
      withDeadline(
        clock,
        { limitMs: input.limitMs, what: `the start of ${input.service}`, signal },
        (limited) => find(input.service).start(limited),
      ),
    ),
    probe: fromPromise<void, { service: string; limitMs: number }>(({ input, signal }) =>
      withDeadline(
        clock,
        { limitMs: input.limitMs, what: `a probe of ${input.service}`, signal },
        (limited) => find(input.service).probe(limited),
      ),
    ),
    stop: fromPromise<void, { service: string }>(({ input }) =>
      withDeadline(clock, { limitMs: stopMs, what: `the stop of ${input.service}` }, () =>
        find(input.service).stop(),
      ),
    ),
  };
}
