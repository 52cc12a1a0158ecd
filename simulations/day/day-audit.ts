import { isTerminal } from '#protocol/job.ts';
import { allJobs } from '#simulations/checkers.ts';
import type { DayWorld } from './day-world.ts';

/**
 * What must hold when a day is over: every job that a client was told of is in Records and has ended
 * (I1), the Broker's indexes agree with its entries (I2, I7), and what has ended has left nothing
 * behind in the Broker (I12). Jobs that outlasted the patience of the run are named.
 */
export async function auditDay(world: DayWorld): Promise<{ checked: number; violated: string[] }> {
  const violated: string[] = [];
  const jobs = await allJobs(world.records);
  const open = new Set(jobs.filter((job) => !isTerminal(job.state)).map((job) => job.id));
  if (jobs.length !== world.planned)
    violated.push(`I1: ${world.planned} jobs were handed in, Records have ${jobs.length}`);
  for (const id of [...open].slice(0, 10)) violated.push(`I1: ${id} has not ended`);
  for (const problem of await world.stores.indexProblems()) violated.push(`I2, I7: ${problem}`);
  const broker = await world.stores.broker();
  const { waiting, delayed, leased } = await broker.stats();
  if (waiting + delayed + leased !== open.size)
    violated.push(`I12: ${open.size} jobs are open, the Broker has ${waiting + delayed + leased}`);
  return { checked: jobs.length + 3, violated };
}
