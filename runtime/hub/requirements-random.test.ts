import { expect, test } from 'vitest';
import { simulationSpec } from '#actors/connectors/simulation/simulation-spec.ts';
import type { Rng } from '#protocol/env.ts';
import { toEmpError } from '#protocol/errors.ts';
import type { JobSubmissionInput } from '#protocol/job.ts';
import type { Assignment } from '#protocol/link.ts';
import type { CustomerRule, MachineClass, Requirements } from '#protocol/requirements.ts';
import { lacking } from '#simulations/check-requirements.ts';
import { pick, seededRng } from '#simulations/seeded-rng.ts';
import { simEnv } from '#simulations/sim-env.ts';
import { SimObjects } from '#simulations/sim-objects.ts';
import { cpuClass, hubRig, type RigMachine } from './hub-rig.ts';
import { submitJob } from './submit.ts';

/**
 * Random histories of two hubs on the same stores: machines of random classes join, come back with
 * others and claim in every way there is; jobs with random requirements come before and after them.
 * Each grant is judged by requirementsHold's oracle, which knows nothing of groups and classes.
 */
const digests = ['a1', 'b2'].map((pair) => `sha256:${pair.repeat(32)}`);
const customers = ['amber', 'birch', 'cedar', 'dune'];
const names = ['m1', 'm2', 'm3', 'm4', 'm5'];
const tags = ['a', 'b', 'c'];
const some = (rng: Rng, list: readonly string[], share = 0.4) => list.filter(() => rng.next() < share);

function drawRule(rng: Rng): CustomerRule | undefined {
  const list = some(rng, customers, 0.5);
  const [first = 'amber'] = list;
  const named = list.length === 0 ? ['amber'] : list;
  return pick(rng, [undefined, undefined, { strict: first }, { allow: named }, { deny: named }]);
}

function drawClass(rng: Rng): MachineClass {
  const customersRule = drawRule(rng);
  const gpus = some(rng, ['l40s', 'rtx4090']);
  const own = some(rng, tags);
  // Of others than its own, too: no machine says so, and nothing may go there either.
  const reservedFor = rng.next() < 0.4 ? some(rng, rng.next() < 0.9 ? own : tags, 0.7) : [];
  return {
    ...cpuClass,
    pool: pick(rng, ['fast-lane', 'standard']),
    services: [{ service: 'simulation', version: pick(rng, ['1.0.0', '1.2.5', '2.0.1']), slots: 4 }],
    vramMb: rng.int(0, 2) * 8_000,
    cpuCores: pick(rng, [2, 8]),
    tags: own,
    region: pick(rng, ['eu', 'us', null]),
    ...(gpus.length === 0 ? {} : { gpus }),
    ...(rng.next() < 0.5 ? { environment: pick(rng, digests) } : {}),
    ...(customersRule === undefined ? {} : { customers: customersRule }),
    ...(reservedFor.length === 0 ? {} : { reservedFor }),
  };
}

function drawJob(rng: Rng, id: string) {
  const wishes: Requirements[] = [
    { vramMb: rng.int(0, 2) * 8_000 },
    { cpuCores: pick(rng, [2, 8]) },
    { tags: [pick(rng, tags)] },
    { withoutTags: [pick(rng, tags)] },
    { region: pick(rng, ['eu', 'us']) },
    { machineId: pick(rng, names) },
    { gpu: pick(rng, [['NVIDIA L40S'], ['RTX 4090 (24 GB)'], ['L40S', 'RTX_4090']]) },
    { connectorVersion: pick(rng, ['1', '^1.2', '>=1.2', '<2']) },
    { environment: pick(rng, digests) },
    { isolation: 'strict' },
  ];
  const asked = wishes.filter((wish) => rng.next() < ('tags' in wish ? 0.3 : 0.12));
  const requirements: Requirements = Object.assign({}, ...asked);
  return {
    id,
    service: 'simulation',
    customer: pick(rng, customers),
    requirements,
  } satisfies JobSubmissionInput;
}

interface Machine {
  link: RigMachine;
  machineClass: MachineClass;
  leases: Assignment[];
}

/** Plays one history and answers how many grants and refusals it had. */
async function play(seed: number): Promise<{ grants: number; kept: number; refusals: number }> {
  const env = simEnv({ seed: `requirements ${seed}` });
  const rng = seededRng(`requirements ${seed}`);
  const rig = await hubRig({
    env,
    objects: new SimObjects({ clock: env.clock }),
    services: [simulationSpec],
    settle: () => env.clock.settle(),
    config: { leaseTtlMs: 300_000 },
  });
  await env.clock.advanceBy(10);
  const second = await rig.another();
  const machines = new Map<string, Machine>();
  /** Every class that the first hub has seen. */
  const seen: MachineClass[] = [];
  const seenAtSubmit = new Map<string, number>();
  const count = { grants: 0, kept: 0, refusals: 0 };

  const join = async (machineId: string) => {
    const machineClass = drawClass(rng);
    machines.set(machineId, { link: await rig.join({ machineId, machineClass }), machineClass, leases: [] });
    seen.push(machineClass);
  };
  const judge = async (machineId: string, assignment: Assignment) => {
    const row = await rig.row(assignment.jobId);
    const machineClass = machines.get(machineId)?.machineClass as MachineClass;
    const lacks = lacking(machineId, machineClass, row);
    expect(
      lacks,
      `seed ${seed}: ${machineId} got ${JSON.stringify(row.requirements)} of ${row.customer}`,
    ).toBeNull();
    count.grants++;
    if (machineClass.reservedFor !== undefined) count.kept++;
  };
  const claim = async (machineId: string, machine: Machine): Promise<boolean> => {
    const answer = await machine.link.claim({ slots: 4 });
    if (answer.kind !== 'leased') return false;
    await judge(machineId, answer.assignment);
    machine.leases.push(answer.assignment);
    return true;
  };
  const submit = async (id: string) => {
    const isFirst = rng.next() < 0.8;
    const document = drawJob(rng, id);
    try {
      await submitJob(isFirst ? rig.core.hub : second.hub, document, { traceparent: null });
      if (isFirst) seenAtSubmit.set(id, seen.length);
    } catch (error) {
      expect(toEmpError(error).code).toBe('REQUIREMENT_UNMET');
      count.refusals++;
    }
  };
  const end = async (machineId: string, machine: Machine) => {
    const lease = machine.leases.pop();
    if (lease === undefined) return;
    const how = rng.next();
    if (how < 0.3) {
      const cause = { kind: 'release' as const, reason: 'given back' };
      await machine.link.ask('exit', { jobId: lease.jobId, token: lease.token, cause });
      return;
    }
    const next = {
      requestId: 1_000 + count.grants,
      free: [{ service: 'simulation', slots: 4 }],
      resident: [],
    };
    const answer = await machine.link.complete(lease, how < 0.6 ? { next } : {});
    if (answer.next?.kind !== 'leased') return;
    await judge(machineId, answer.next.assignment);
    machine.leases.push(answer.next.assignment);
  };

  for (let step = 0; step < 90; step++) {
    const [machineId, what] = [pick(rng, names), rng.next()];
    const machine = machines.get(machineId);
    if (machine === undefined || what < 0.06) await (what < 0.4 ? join(machineId) : submit(`j${step}`));
    else if (what < 0.45) await submit(`j${step}`);
    else if (what < 0.75) await claim(machineId, machine);
    else if (what < 0.9) await end(machineId, machine);
    else await env.clock.advanceBy(rng.int(100, 4_000));
  }
  // At the end every machine takes what it can: nothing is left that one whose class was known may run.
  await env.clock.advanceBy(6_000);
  for (const [machineId, machine] of machines) while (await claim(machineId, machine));
  const { items: left } = await rig.ports.records.listJobs({
    filter: { state: ['waiting'] },
    limit: 500,
    cursor: null,
  });
  for (const row of left) {
    const known = seen.slice(0, seenAtSubmit.get(row.id) ?? 0);
    const view = await rig.ports.broker.inspect(row.id);
    if (view?.state !== 'waiting') continue;
    for (const [machineId, { machineClass }] of machines)
      if (known.includes(machineClass))
        expect(lacking(machineId, machineClass, row), `seed ${seed}: nobody took ${row.id}`).not.toBeNull();
  }
  return count;
}

test('no claim ever violates a hard requirement, and none that a known machine meets is left, in any history', async () => {
  const sum = { grants: 0, kept: 0, refusals: 0 };
  for (let seed = 1; seed <= 40; seed++) {
    const { grants, kept, refusals } = await play(seed);
    sum.grants += grants;
    sum.kept += kept;
    sum.refusals += refusals;
  }
  // Enough of both, or it has shown little.
  expect(sum.grants).toBeGreaterThan(400);
  expect(sum.kept).toBeGreaterThan(40);
  expect(sum.refusals).toBeGreaterThan(80);
}, 120_000);
