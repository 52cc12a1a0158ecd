import { type Checker, Violation } from './observation.ts';

const name = 'I2, I7: every index is true';

/**
 * Whenever the Broker is looked at as a whole: each entry is in exactly the index of its state, each
 * index entry has its job, counts are what they count (I2), and the heads of lanes and groups are the
 * true heads (I7). What is compared is said by the audit of each Broker: `auditData` of the memory
 * Broker, `indexProblems` of Redis.
 */
export function indexesTrue(): Checker {
  return {
    name,
    audit(view) {
      const [first] = view.indexProblems;
      if (first === undefined) return;
      const more = view.indexProblems.length - 1;
      throw new Violation(name, { detail: more === 0 ? first : `${first}, and ${more} more` });
    },
  };
}
