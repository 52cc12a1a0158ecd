import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** What a run of vitest came to. vitest's own JSON has no reasons of skips, so we write ours. */
export interface Tally {
  passed: number;
  /** Failed tests, files that could not be loaded, and errors outside of tests: one line each. */
  failures: string[];
  skips: { name: string; reason: string }[];
}

/** Reporter that writes a `Tally` as JSON to the file named by `EMP_TALLY`. */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly { message: string }[]): void {
    const tally: Tally = { passed: 0, failures: [], skips: [] };
    for (const module of modules) addModule(tally, module);
    for (const error of unhandledErrors) tally.failures.push(`outside of tests: ${error.message}`);
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
    else tally.failures.push(name);
    if (result.state === 'failed') failedTests += 1;
  }
  // A file or hook that fails leaves its tests unrun or passed: the run is red all the same.
  if (!module.ok() && failedTests === 0)
    tally.failures.push(`${module.relativeModuleId} > outside of its tests`);
}
