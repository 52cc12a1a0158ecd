import { EmpError } from '#protocol/errors.ts';
import type { LinkBody } from '#protocol/link.ts';
import type { MachineRow } from '#protocol/records.ts';
import { machineClassId } from '#protocol/requirements.ts';
import type { Hub } from './hub.ts';
import type { Bearer } from './tokens.ts';

export type JoinAnswer = { kind: 'joined'; row: MachineRow; resumed: boolean } | { kind: 'superseded' };

/**
 * A machine says hello. With a join token it gets a new incarnation; with its machine token it goes
 * on with the one that the token is bound to, or, started anew, gets a new one unless a newer exists.
 * Throws FORBIDDEN for a token of another machine or incarnation.
 */
export async function joinMachine(hub: Hub, bearer: Bearer, hello: LinkBody<'hello'>): Promise<JoinAnswer> {
  const nowMs = hub.env.clock.now();
  const { machineId, machineClass } = hello;
  if (bearer.kind === 'machine') {
    const known = await checkMachineToken(hub, bearer, hello);
    if (known === null || known.incarnation > bearer.incarnation) return { kind: 'superseded' };
    if (hello.incarnation !== null) return await resume(hub, { machineId, incarnation: bearer.incarnation });
  }
  const classId = machineClassId(machineClass);
  const row = await hub.records.enrolMachine({ machineId, classId, machineClass, hubId: hub.hubId, nowMs });
  hub.classes.note(classId, machineClass);
  const enrolled = await hub.broker.enrol({ machineId, incarnation: row.incarnation });
  // The leases of an older incarnation have lapsed by this very step.
  hub.poke.sweeper();
  return enrolled.kind === 'superseded' ? enrolled : { kind: 'joined', row, resumed: false };
}

async function checkMachineToken(
  hub: Hub,
  bearer: Extract<Bearer, { kind: 'machine' }>,
  hello: LinkBody<'hello'>,
): Promise<MachineRow | null> {
  if (bearer.machineId !== hello.machineId) {
    throw new EmpError('FORBIDDEN', {
      detail: `The token speaks for ${bearer.machineId}, not for ${hello.machineId}: join with a join token`,
    });
  }
  if (hello.incarnation !== null && hello.incarnation !== bearer.incarnation) {
    throw new EmpError('FORBIDDEN', {
      detail: `The token speaks for incarnation ${bearer.incarnation}, not for ${hello.incarnation}: join with a join token`,
    });
  }
  return await hub.records.getMachine(hello.machineId);
}

async function resume(hub: Hub, ref: { machineId: string; incarnation: number }): Promise<JoinAnswer> {
  const row = await hub.records.resumeMachine({ ...ref, hubId: hub.hubId, nowMs: hub.env.clock.now() });
  if (row === null) return { kind: 'superseded' };
  const enrolled = await hub.broker.enrol(ref);
  return enrolled.kind === 'superseded' ? enrolled : { kind: 'joined', row, resumed: true };
}
