import type { CountedWork } from '#protocol/limit.ts';
import type { Records } from '#protocol/records.ts';
import { checkAsked } from '#protocol/records-admissions.ts';
import type { Database } from './database.ts';

/** How many jobs are accepted and not begun, by what limits look at. */

/** The condition repeats that of the index word for word. */
const isWaiting = "j.state IN ('scheduled', 'held', 'waiting')";

/** $1 = what is asked, [{place, customer, pool, model, most}]; one row for each. */
const counted = (from: string) => `SELECT a.place, w.n FROM json_to_recordset($1)
    AS a(place integer, customer text, pool text, model text, most integer)
  CROSS JOIN LATERAL (SELECT count(*)::integer AS n FROM (SELECT 1 FROM ${from} LIMIT a.most) AS found) AS w`;

/** The index begins with the pool: where none is named, they are found one by one. */
const next = (more: string) =>
  `SELECT j.pool FROM emp.jobs j WHERE ${more}${isWaiting} ORDER BY j.pool LIMIT 1`;
const pools = `WITH RECURSIVE pools AS ((${next('')})
  UNION ALL SELECT n.pool FROM pools p CROSS JOIN LATERAL (${next('j.pool > p.pool AND ')}) AS n) `;
const ofModel =
  pools +
  counted(`pools p CROSS JOIN LATERAL (SELECT 1 FROM emp.jobs j
    WHERE j.pool = p.pool AND j.affinity = a.model AND ${isWaiting} LIMIT a.most) AS one`);

/** The statement for what is named. */
function statement({ customer, pool, model }: CountedWork): string {
  if (customer === null && pool === null && model !== null) return ofModel;
  const named = [
    customer === null ? [] : 'j.customer = a.customer AND ',
    pool === null ? [] : 'j.pool = a.pool AND ',
    model === null ? [] : 'j.affinity = a.model AND ',
  ];
  return counted(`emp.jobs j WHERE ${named.flat().join('')}${isWaiting}`);
}

export function waitingMethods(db: Database): Pick<Records, 'countWaiting'> {
  return {
    countWaiting: async (asked) => {
      checkAsked(asked);
      const counts = asked.map(() => 0);
      const placed = asked.map(({ limit, ...each }, place) => ({ ...each, most: limit, place }));
      const answers = [...Map.groupBy(placed, statement)].map(([text, rows]) =>
        db.query(text, [JSON.stringify(rows)]),
      );
      for (const { place, n } of (await Promise.all(answers)).flat()) counts[Number(place)] = Number(n);
      return counts;
    },
  };
}
