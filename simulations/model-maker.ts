import { ModelMachine } from './model-machine.ts';
import type { MachineMaker } from './world-machine.ts';

/** Machines that speak the protocol and have no insides: for runs about hubs, stores and leases. */
export const modelMachines: MachineMaker = ({ world, process, machineId, machineClass }) => {
  const nothing = { models: [], missing: [] };
  const slots = machineClass.services[0]?.slots ?? 1;
  const machine = new ModelMachine({
    env: process.env,
    dialer: world.network.dialer(process),
    urls: world.hubs.map((hub) => hub.url),
    joinToken: world.joinToken,
    machineId,
    machineClass,
    onRun: ({ kind, jobId, token }) => {
      world.trace.note(`${process.name} ${kind} token ${token}`, jobId);
      const change = kind === 'started' ? 'began' : 'ended';
      world.observe({ kind: 'service', process: process.name, change, jobId, token, slots, ...nothing });
    },
  });
  return {
    get over() {
      return machine.state === 'stopped';
    },
    get serving() {
      return machine.state === 'joined';
    },
    start: () => machine.start(),
    drain: ({ ended }) => {
      process.enter(() => {
        machine.drain().then(ended, ended);
      });
    },
  };
};
