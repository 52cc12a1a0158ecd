import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, TestModule } from 'vitest/node';

/** What a run of vitest came to. vitest's own JSON has no reasons of skips, so we write ours. */
export interface Tally {
  passed: number;
  /** Failed tests, files that could not be loaded, and errors outside of tests: one line each, with why. */
  failures: string[];
  skips: { name: string; reason: string }[];
}

/** Characters of a failure's reason that stand beside its name; the whole of it stands where the test ran. */
const reasonLimit = 600;

/** Reporter that writes a `Tally` as JSON to the file named by `EMP_TALLY`. */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly { message: string }[]): void {
    const tally: Tally = { passed: 0, failures: [], skips: [] };
    for (const module of modules) addModule(tally, module);
    for (const error of unhandledErrors) tally.failures.push(withReason('outside of tests', [error]));
    if (process.env.EMP_TALLY) writeFileSync(process.env.EMP_TALLY, JSON.stringify(tally));
  }
}

function addModule(tally: Tally, module: TestModule): void {
  let failedTests = 0;
  for (const test of module.children.allTests()) {
    const name = `${module.relativeModuleId} > ${test.fullName}`;
    const result = test.result();
    if (result.state === 'passed') tally.passed += 1;
    else if (result.state === 'skipped') tally.skips.push({ name, reason: result.note ?? '' });
    else tally.failures.push(withReason(name, result.errors ?? []));
    if (result.state === 'failed') failedTests += 1;
  }
  // A file or hook that fails leaves its tests unrun or passed: the run is red all the same.
  if (!module.ok() && failedTests === 0)
    tally.failures.push(withReason(`${module.relativeModuleId} > outside of its tests`, module.errors()));
}

/** The first error in one line: who reads only the end of a long output learns what was wrong. */
function withReason(name: string, [error]: readonly { message: string }[]): string {
  const reason = stripVTControlCharacters(error?.message ?? '')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' | ')
    .slice(0, reasonLimit);
  return reason === '' ? name : `${name}: ${reason}`;
}
