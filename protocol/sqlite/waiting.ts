import type { CountedWork } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { checkAsked } from '#protocol/records-admissions.ts';
import type { Database } from './database.ts';
import { stateIs } from './job-rows.ts';

/** How many jobs are accepted and not begun, by what limits look at. */

const isWaiting = stateIs('j.state', 'scheduled', 'held', 'waiting');
const counted = (from: string, where: string) =>
  `SELECT count(*) AS n FROM (SELECT 1 FROM ${from} WHERE ${where}${isWaiting} LIMIT ?)`;

/** The index begins with the pool: where none is named, they are found one by one. */
const least = (more: string) =>
  `SELECT min(j.pool) FROM jobs j INDEXED BY jobs_waiting WHERE ${more}${isWaiting}`;
const pools = `WITH RECURSIVE pools (pool) AS (${least('')}
  UNION ALL SELECT (${least('j.pool > pools.pool AND ')}) FROM pools WHERE pools.pool IS NOT NULL) `;
const ofModel =
  pools +
  counted('pools CROSS JOIN jobs j INDEXED BY jobs_waiting', 'j.pool = pools.pool AND j.affinity = ? AND ');

/** The statement for what is named, and its values in order. */
function statement({ customer, pool, model }: CountedWork): { sql: string; values: string[] } {
  if (customer === null && pool === null && model !== null) return { sql: ofModel, values: [model] };
  const named = Object.entries({ customer, pool, affinity: model }).filter(([, value]) => value !== null);
  const index = customer === null ? 'jobs_waiting' : 'jobs_by_customer_state';
  const where = named.map(([column]) => `j.${column} = ? AND `).join('');
  return {
    sql: counted(`jobs j INDEXED BY ${index}`, where),
    values: named.map(([, value]) => String(value)),
  };
}

export function waitingMethods(db: Database): Pick<Records, 'countWaiting'> {
  return {
    countWaiting: async (asked) => {
      checkAsked(asked);
      return await db.read(() =>
        asked.map((each) => {
          const { sql, values } = statement(each);
          return Number(db.get(sql, ...values, each.limit)?.n);
        }),
      );
    },
  };
}
