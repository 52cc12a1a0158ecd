import type { TurnsAnswer, TurnsRequest } from '#protocol/broker.ts';
import { claim } from './claim.ts';
import { complete } from './exits.ts';
import type { Step } from './state.ts';

/** The steps of each, one after the other: what ends here may leave a machine free for what is claimed. */
export function turns(step: Step, { completions, claims }: TurnsRequest): TurnsAnswer {
  return {
    completions: completions.map((request) => complete(step, request)),
    claims: claims.map((request) => claim(step, request)),
  };
}
