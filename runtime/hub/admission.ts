import { type Admissible, planAdmissions } from '#machines/policy/admission.ts';
import type { Job } from '#protocol/job.ts';
import type { LimitedWork } from '#protocol/limit.ts';
import { driveRows } from './drive.ts';
import type { Hub } from './hub.ts';

/**
 * Limits keep jobs out of the Broker: what they count is `held` in Records, and let in as far as there is
 * room, by whichever hub first hears that there is. So a claim needs to know nothing of limits. What
 * waited in the Broker before its limit was known is caught when a machine would get it.
 */

/** Kinds of held work that are read at once, and that one pass looks at. */
const pageLimit = 500;
const kindsLimit = 10_000;
/** Steps of one pass; then others have their turn. */
const stepsLimit = 500;
/** A rate is looked at again not sooner than this, ms. */
const leastWaitMs = 2;

/** What a hub remembers from pass to pass, so that everybody gets their turn and nobody is asked in vain. */
export class Admissions {
  readonly #lastIn = new Map<string, number>();
  /** When a rate that stands in the way has room again, by kind of work. */
  readonly #notBeforeMs = new Map<string, number>();
  #turn = 0;

  readonly lastIn = (work: LimitedWork): number => this.#lastIn.get(nameOf(work)) ?? 0;

  noteIn(work: LimitedWork): void {
    this.#lastIn.set(nameOf(work), ++this.#turn);
  }

  noteRate(work: LimitedWork, nextAtMs: number | null): void {
    if (nextAtMs === null) this.#notBeforeMs.delete(nameOf(work));
    else this.#notBeforeMs.set(nameOf(work), nextAtMs);
  }

  /** The date of a rate before which it need not be asked for; null = it may have room. */
  waitsFor(work: LimitedWork, nowMs: number): number | null {
    const atMs = this.#notBeforeMs.get(nameOf(work)) ?? null;
    return atMs !== null && atMs > nowMs ? atMs : null;
  }

  /** Limits have changed: every date may be another. */
  forgetRates(): void {
    this.#notBeforeMs.clear();
  }

  /** Forgets what is no longer held. */
  keepOnly(held: readonly LimitedWork[]): void {
    if (this.#lastIn.size + this.#notBeforeMs.size <= 2 * kindsLimit) return;
    const names = new Set(held.map(nameOf));
    for (const map of [this.#lastIn, this.#notBeforeMs])
      for (const name of map.keys()) if (!names.has(name)) map.delete(name);
  }
}

const nameOf = ({ customer, pool, model }: LimitedWork) => `${customer} ${pool} ${model}`;

/**
 * Lets in what is held as far as limits and pauses have room; one pass over all held work, at most
 * `stepsLimit` steps of it. Answers when to look again, ms from now: at once where it is not through, else
 * at the next date that a rate or a failed job's pause gives. Rejects when Records fail.
 */
export async function admitHeld(hub: Hub, memory: Admissions): Promise<number | null> {
  const before = hub.limits.holding();
  await hub.limits.refreshIfOld();
  await hub.pauses.refreshIfOld();
  if (before !== hub.limits.holding()) memory.forgetRates();
  const { held, admitted, nextDueMs } = await readAll(hub);
  memory.keepOnly(held);
  const nowMs = hub.env.clock.now();
  const planned = planAdmissions({
    held,
    admitted,
    limits: hub.limits.holding(),
    isPaused: (customer) => hub.pauses.ofCustomer(customer) !== null,
    lastIn: memory.lastIn,
  });
  const open = planned.filter((work) => memory.waitsFor(work, nowMs) === null);
  const isThrough = await admitInTurn(hub, open, memory);
  if (!isThrough) return 0;
  const dates = planned.flatMap((work) => memory.waitsFor(work, nowMs) ?? []);
  if (nextDueMs !== null) dates.push(nextDueMs);
  if (dates.length === 0) return null;
  const nextMs = dates.reduce((least, atMs) => Math.min(least, atMs));
  return Math.max(leastWaitMs, nextMs - hub.env.clock.now());
}

async function readAll(hub: Hub) {
  const nowMs = hub.env.clock.now();
  const held: LimitedWork[] = [];
  for (;;) {
    const after = held.at(-1) ?? null;
    const view = await hub.records.admissionView({ after, limit: pageLimit, nowMs });
    held.push(...view.held);
    if (view.held.length < pageLimit || held.length >= kindsLimit) return { ...view, held };
  }
}

/**
 * Round after round while somebody gets in. Where a limit is full, nobody else is asked who shares it. False
 * where there is more to do.
 */
async function admitInTurn(hub: Hub, planned: Admissible[], memory: Admissions): Promise<boolean> {
  const full = new Set<string>();
  let open = planned;
  let steps = 0;
  while (open.length > 0) {
    const going: Admissible[] = [];
    for (const work of open) {
      if (hub.stopping) return true;
      if (work.keys.some((key) => full.has(key))) continue;
      if (++steps > stepsLimit) return false;
      const { jobs, nextAtMs, isFull } = await letIn(hub, work);
      memory.noteRate(work, nextAtMs);
      if (jobs.length > 0) memory.noteIn(work);
      if (isFull) closeRooms(hub, work, full);
      else if (jobs.length === work.atOnce && nextAtMs === null) going.push(work);
    }
    open = going;
  }
  return true;
}

/** Of one limit it is known to be full; which of several it was is not. */
function closeRooms(hub: Hub, { keys, customer }: Admissible, full: Set<string>): void {
  const [only] = keys;
  if (keys.length === 1 && only !== undefined && hub.pauses.ofCustomer(customer) === null) full.add(only);
}

async function letIn(hub: Hub, { customer, pool, model, atOnce }: Admissible) {
  // Under which server the rows are read: see driveRows.
  const identity = await hub.identity.known();
  const asked = { customer, pool, model, limit: atOnce, actor: 'hub', nowMs: hub.env.clock.now() };
  const answer = await hub.records.admitJobs(asked);
  if (answer.jobs.length > 0) await bringIn(hub, answer.jobs, identity);
  return answer;
}

async function bringIn(hub: Hub, rows: Job[], identity: string | null): Promise<void> {
  hub.poke.recorder();
  if (identity === null) return hub.poke.reconciler();
  await driveRows(hub, { rows, identity });
}
