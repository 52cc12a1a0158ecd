import type { LimitDefinitionInput } from '#protocol/limit.ts';
import { hubRig } from './hub-rig.ts';
import { saveLimit } from './limits.ts';

/** A hub with one machine of 16 slots, and short ways to limit, submit and claim. `pass`: lets so many ms go by. */
export async function limitsRig(
  options: Parameters<typeof hubRig>[0] & { pass: (ms: number) => Promise<void> },
) {
  const { pass, settle } = options;
  const rig = await hubRig(options);
  await pass(10);
  const simulation = { service: 'simulation', version: '1', slots: 16 };
  const machine = await rig.join({ machineId: 'm1', machineClass: { services: [simulation] } });
  const { hub } = rig.core;
  const limit = async (name: string, document: LimitDefinitionInput) => {
    await saveLimit(hub, { name, document, actor: 'ann' });
    await settle();
  };
  /** Ids `prefix1`, `prefix2`, …; lets what follows come to its end. */
  const submit = async (prefix: string, count: number, more: object = { customer: 'acme' }) => {
    for (let n = 1; n <= count; n++) await rig.submit(`${prefix}${n}`, more);
    await pass(10);
  };
  /** All that the machine is given until it is given no more, and told of no more. */
  const take = async () => {
    const leases: Awaited<ReturnType<typeof machine.lease>>[] = [];
    for (;;) {
      const told = machine.notices.length;
      const answer = await machine.claim();
      if (answer.kind === 'leased') leases.push(answer.assignment);
      else if (machine.notices.length === told) return leases;
    }
  };
  return { rig, hub, machine, limit, submit, take };
}
