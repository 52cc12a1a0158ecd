import { ModelMachine } from './model-machine.ts';
import type { MachineMaker } from './world-machine.ts';

/** Machines that speak the protocol and have no insides: for runs about hubs, stores and leases. */
export const modelMachines: MachineMaker = ({ world, process, machineId, machineClass }) => {
  const machine = new ModelMachine({
    env: process.env,
    dialer: world.network.dialer(process),
    urls: world.hubs.map((hub) => hub.url),
    joinToken: world.joinToken,
    machineId,
    machineClass,
    onRun: ({ kind, jobId, token }) => world.trace.note(`${process.name} ${kind} token ${token}`, jobId),
  });
  return {
    get over() {
      return machine.state === 'stopped';
    },
    start: () => machine.start(),
    drain: ({ ended }) => {
      process.enter(() => {
        machine.drain().then(ended, ended);
      });
    },
  };
};
