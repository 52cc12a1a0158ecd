import type { Fault } from './fault.ts';
import { clockFaults } from './faults-clock.ts';
import { failoverFaults } from './faults-failover.ts';
import { killFaults } from './faults-kill.ts';
import { networkFaults } from './faults-network.ts';
import { pauseFaults } from './faults-pause.ts';
import { postgresFaults } from './faults-postgres.ts';
import { redisFaults } from './faults-redis.ts';

/** Every fault that `emp chaos` can make, in the order of its list. */
export const allFaults: readonly Fault[] = [
  ...killFaults,
  ...pauseFaults,
  ...networkFaults,
  ...redisFaults,
  ...failoverFaults,
  ...postgresFaults,
  ...clockFaults,
];
