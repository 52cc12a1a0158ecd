import type { EvictionRule } from '#machines/policy/eviction.ts';
import { hash, jsq, random } from './bindings.ts';
import { clairvoyant } from './clairvoyant.ts';
import type { PolicyMaker } from './policy.ts';
import { affinity, fifo, pools } from './pull.ts';

export interface PolicyEntry {
  name: string;
  /** One line for people. */
  summary: string;
  /** Null: what ships decides, and nothing stands around the Broker. */
  make: PolicyMaker | null;
  /** What the caches of machines give up first. */
  eviction: EvictionRule;
}

/** Everything that a replay can be asked to run, ours first. */
export const policies: readonly PolicyEntry[] = [
  {
    name: 'emp',
    summary: 'what ships: fair scores, warm bonus, pools with spill',
    make: null,
    eviction: 'value',
  },
  {
    name: 'fifo',
    summary: 'one queue in order of arrival, models fetched on demand',
    make: fifo,
    eviction: 'lru',
  },
  {
    name: 'random',
    summary: 'each job to any machine that fits, by lot, at arrival',
    make: random,
    eviction: 'lru',
  },
  {
    name: 'jsq',
    summary: 'each job to the shortest queue that fits, at arrival',
    make: jsq,
    eviction: 'lru',
  },
  { name: 'pools', summary: 'as fifo, each pool by itself', make: pools, eviction: 'lru' },
  {
    name: 'hash',
    summary: 'rendezvous hash of the base model, bounded load 1.25',
    make: hash,
    eviction: 'lru',
  },
  {
    name: 'affinity',
    summary: 'pull by time to begin, less half the age',
    make: affinity,
    eviction: 'value',
  },
  {
    name: 'clairvoyant',
    summary: 'knows run times, arrivals and losses; plans, and fetches ahead',
    make: clairvoyant,
    eviction: 'value',
  },
];
