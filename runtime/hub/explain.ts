import { usedUnder } from '#machines/policy/admission.ts';
import { machineMeets, type Unmet, unmetRequirements } from '#machines/policy/matching.ts';
import type { BrokerView } from '#protocol/broker.ts';
import { EmpError, toEmpError } from '#protocol/errors.ts';
import { isTerminal, type Job } from '#protocol/job.ts';
import { countedWith } from '#protocol/limit.ts';
import type { Pause } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import { lastWait, waitsOf } from '#runtime/job-waits.ts';
import { explainInWords, type Facts } from './explain-words.ts';
import {
  type Ahead,
  byNearness,
  type Choice,
  type Explanation,
  type MachineVerdict,
  machinesShown,
  startAfter,
} from './explanation.ts';
import { forbidden, workOf } from './held-back.ts';
import type { Hub } from './hub.ts';
import { listMachines, type MachineView } from './machines.ts';
import { countsShown } from './waiting.ts';

/** Leased jobs that are looked through for when slots come free. */
const leasedLimit = 1_000;
/** Events of one job that are looked through for its last claim. */
const claimsLimit = 100;

/**
 * Explains one job: which machines were considered and what each lacks, who is ahead and why, what the
 * start waits for; of a job that has run, why that machine. Reads only. Throws `NOT_FOUND`.
 */
export async function explainJob(hub: Hub, jobId: string): Promise<Explanation> {
  const job = await hub.records.getJob(jobId);
  if (job === null)
    throw new EmpError('NOT_FOUND', { detail: `No job ${jobId} is known`, fields: { jobId } });
  const { service, pool, requirements, models, customer } = job;
  const group = (await hub.groups.find(job.group)) ?? { service, pool, requirements, customer };
  await hub.pauses.refreshIfOld();
  await hub.limits.refreshIfOld();
  const broker = await lookIntoBroker(hub, jobId);
  const views = await listMachines(hub, { all: false });
  const machines = views.map((view) => judge(hub, view, { job, group }));
  machines.sort(byNearness);
  const fit = machines.filter(({ verdict }) => verdict !== 'unfit');
  const free = machines.filter(({ verdict }) => verdict === 'free').length;
  const linked = fit.filter(({ verdict }) => verdict !== 'away').length;
  const ahead = await whoIsAhead(hub, job, broker.view);
  const timeline = await hub.records.timeline(jobId);
  const { runs, transitions } = timeline;
  const facts = {
    job,
    nowMs: hub.env.clock.now(),
    machines,
    isHolderLinked: views.some((view) => view.linked && isHolder(view, job)),
    ahead,
    broker,
    search: await hub.classes.find({ ...group, requirements }),
    choice: await lastChoice(hub, { job, ...timeline }),
    pauses: pausesOf(hub, { job, group }),
    limits: await limitsOf(hub, job),
    forbidden: job.state === 'waiting' ? forbidden(hub, workOf(job), job.limited) : null,
    runs,
    sinceMs: transitions.at(-1)?.atMs ?? job.submittedAtMs,
    leaseTtlMs: hub.config.leaseTtlMs,
    hold: hub.holds.of(hub, job),
    expectedStart: isTerminal(job.state) ? null : await expectedStart(hub, { job, group, ahead }),
  };
  return {
    jobId,
    state: job.state,
    summary: explainInWords(facts),
    needs: { service, pool, models, requirements },
    machines: machines.slice(0, machinesShown),
    counts: { considered: machines.length, fit: fit.length, linked, free },
    ahead,
    expectedStart: facts.expectedStart,
    choice: facts.choice,
  };
}

function pausesOf(hub: Hub, { job, group }: { job: Job; group: Group }): Pause[] {
  const customer = hub.pauses.ofCustomer(job.customer);
  return [...hub.pauses.of(group), ...(customer === null ? [] : [customer])];
}

/** Of a held job: what holds it, how much each has let in, and how many of what it counts wait. */
async function limitsOf(hub: Hub, job: Job): Promise<Facts['limits']> {
  const work = workOf(job);
  const limits = hub.limits.of(work);
  if (job.state !== 'held' || limits.length === 0) return [];
  const nowMs = hub.env.clock.now();
  const { admitted } = await hub.records.admissionView({ after: work, limit: 1, nowMs });
  const waiting = await countsShown(hub, limits, (limit) => countedWith(limit, work));
  return limits.map((limit, index) => ({
    limit,
    used: limit.concurrent === undefined ? null : usedUnder(limit, work, admitted),
    waiting: waiting[index] ?? null,
  }));
}

/** The Broker's word; `down` where it has none because it does not answer. */
export interface BrokerWord {
  view: BrokerView | null;
  isOpen: boolean;
  down: string | null;
}

async function lookIntoBroker(hub: Hub, jobId: string): Promise<BrokerWord> {
  try {
    const { open: isOpen } = await hub.broker.identity();
    return { view: await hub.broker.inspect(jobId), isOpen, down: null };
  } catch (error) {
    return { view: null, isOpen: false, down: toEmpError(error, 'BROKER_UNAVAILABLE').message };
  }
}

function judge(hub: Hub, view: MachineView, { job, group }: { job: Job; group: Group }): MachineVerdict {
  const { machineId, machineClass, residency } = view;
  const running = view.running.length;
  const needed = group.requirements.machineId ?? machineId;
  const pin: Unmet[] =
    needed === machineId ? [] : [{ requirement: 'machineId', needed, available: machineId }];
  // In the job's own numbers; what its group needs beyond them counts, too (machines/policy/size-steps.ts).
  const own = unmetRequirements(machineClass, { ...group, requirements: job.requirements });
  const named = new Set(own.map(({ requirement }) => requirement));
  const shared = unmetRequirements(machineClass, group).filter(({ requirement }) => !named.has(requirement));
  const unmet = [...own, ...shared, ...pin];
  const [model] = job.models;
  const copy = residency.find(({ modelId }) => modelId === model);
  const found = { machineId, pool: machineClass.pool, running };
  return {
    ...found,
    model:
      model === undefined
        ? null
        : copy === undefined
          ? 'absent'
          : copy.state === 'resident'
            ? 'resident'
            : 'fetching',
    unmet,
    verdict: verdictOn(hub, view, { job, isFit: unmet.length === 0 }),
  };
}

const isHolder = (view: MachineView, job: Job) =>
  job.machineId === view.machineId && job.incarnation === view.incarnation;

function verdictOn(
  hub: Hub,
  view: MachineView,
  { job, isFit }: { job: Job; isFit: boolean },
): MachineVerdict['verdict'] {
  if (job.state === 'leased' && isHolder(view, job)) return 'holds';
  if (!isFit) return 'unfit';
  if (!view.linked) return 'away';
  if (view.cordoned || view.draining) return 'closed';
  return busySlots(hub, view, job) < slotsOf(view, job) ? 'free' : 'busy';
}

/**
 * Slots of the job's service that work. A machine linked to another hub names its runs without their
 * services: each counts.
 */
function busySlots(hub: Hub, view: MachineView, { service }: Job): number {
  const link = hub.links.find(view);
  if (link === null) return view.running.length;
  return [...link.granted.values()].filter(({ group }) => hub.groups.get(group)?.service === service).length;
}

const slotsOf = ({ machineClass }: MachineView, { service }: Job) =>
  machineClass.services.find((offered) => offered.service === service)?.slots ?? 0;

async function whoIsAhead(hub: Hub, job: Job, view: BrokerView | null): Promise<Ahead | null> {
  if (view?.state !== 'waiting') return null;
  const leaders: Ahead['leaders'] = [];
  for (const { jobId } of view.leaders) {
    const other = await hub.records.getJob(jobId);
    if (other === null) continue;
    const { customer, priority, models } = other;
    leaders.push({ jobId, customer, priority, model: models[0] ?? null, why: whyBefore(other, job) });
  }
  return { inLane: view.ahead, inGroup: view.aheadInGroup, leaders };
}

/** What of the score sets the other job before this one (protocol/score.ts). */
function whyBefore(other: Job, job: Job): string {
  if (other.priority > job.priority) return `priority ${other.priority} against ${job.priority}`;
  if (other.customer !== job.customer)
    return `${other.customer} has had, and has waiting before it, less of pool ${job.pool} than ${job.customer}`;
  return 'submitted earlier by the same customer';
}

/** What the last claim was made of; a claim that the recorder has not copied yet tells nothing. */
async function lastChoice(
  hub: Hub,
  timeline: Parameters<typeof waitsOf>[0] & { job: Job },
): Promise<Choice | null> {
  const { job } = timeline;
  if (job.token === null) return null;
  const types = ['job.leased'];
  const claims = await hub.records.listEvents({ after: 0, limit: claimsLimit, jobId: job.id, types });
  const last = claims.findLast(({ data }) => data['token'] === job.token);
  if (last === undefined || last.machineId === null) return null;
  const { run, bonusMs, penaltyMs } = last.data;
  const waits = waitsOf(timeline);
  // A claim of a job that a Broker had lost and another machine held is no change of state: the last wait led to both.
  const wait = waits.findLast(({ token }) => token === job.token) ?? lastWait(waits);
  return {
    machineId: last.machineId,
    run: Number(run),
    waitedMs: Math.max(0, last.atMs - wait.sinceMs),
    bonusMs: Number(bonusMs ?? 0),
    penaltyMs: Number(penaltyMs ?? 0),
  };
}

/**
 * By the slots of linked machines that fit, when each comes free if runs take as long as expected, and
 * the jobs of the group that come before. Jobs of other groups on the same machines are not counted.
 */
async function expectedStart(
  hub: Hub,
  { job, group, ahead }: { job: Job; group: Group; ahead: Ahead | null },
): Promise<Explanation['expectedStart']> {
  if (job.state === 'leased') return null;
  const nowMs = hub.env.clock.now();
  const filter = { state: ['leased' as const] };
  const leased = (await hub.records.listJobs({ filter, limit: leasedLimit, cursor: null })).items;
  const views = await listMachines(hub, { all: false });
  const fit = views.filter(
    (view) => view.linked && !view.cordoned && !view.draining && machineMeets(view, group),
  );
  const freeInMs = fit.flatMap((view) => {
    const own = leased.filter(
      (other) => other.machineId === view.machineId && other.incarnation === view.incarnation,
    );
    const busy = own.map(({ expectedMs, startedAtMs }) =>
      Math.max(0, expectedMs - (nowMs - (startedAtMs ?? nowMs))),
    );
    const idle = Math.max(0, slotsOf(view, job) - busy.length);
    return [...busy, ...Array.from({ length: idle }, () => 0)].slice(0, Math.max(slotsOf(view, job), 1));
  });
  const before = ahead?.inGroup ?? 0;
  const inMs = startAfter({ freeInMs, ahead: before, expectedMs: job.expectedMs });
  if (inMs === null) return null;
  const dueMs = Math.max(0, (job.notBeforeMs ?? 0) - nowMs);
  const basis = `${freeInMs.length} slot${freeInMs.length === 1 ? '' : 's'} on ${fit.length} linked machine${fit.length === 1 ? '' : 's'} that fit, ${before} job${before === 1 ? '' : 's'} of its group before it, each as long as expected; what else these machines may take, and the fetching of models, is not counted`;
  return { inMs: Math.max(inMs, dueMs), basis };
}
