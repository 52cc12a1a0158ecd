/**
 * Options of every chart. A cycle of eventless transitions is a bug: after this many microsteps the
 * actor fails by name, where XState's default would hang the process for ever.
 */
export const chartOptions = { maxIterations: 1_000 };
