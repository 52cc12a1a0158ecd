import type { JobSubmissionInput } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import { withSetting } from './parse.ts';

export interface RequirementOptions {
  /** `key=value` each, as in the payload. */
  require?: string[];
  tag?: string[];
  withoutTag?: string[];
  machine?: string;
}

/** What the options ask of a machine; the hub judges it. Undefined where they ask nothing. */
export function requirementsOf(options: RequirementOptions): JobSubmissionInput['requirements'] {
  const { require = [], tag, withoutTag, machine } = options;
  const asked: JsonObject = {
    ...require.reduce(withSetting, {} as JsonObject),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(withoutTag === undefined ? {} : { withoutTags: withoutTag }),
    ...(machine === undefined ? {} : { machineId: machine }),
  };
  return Object.keys(asked).length === 0 ? undefined : (asked as JobSubmissionInput['requirements']);
}
