// `npm run check`: everything that can be said about the files without running them.
import { checks } from './checks.ts';

let failed = 0;
for (const check of checks) {
  console.log(`\n== ${check.name}`);
  const problems = await check.problems();
  for (const problem of problems) console.log(`   ${problem}`);
  console.log(problems.length === 0 ? '   ok' : '   FAILED');
  if (problems.length > 0) failed += 1;
}
console.log(`\n${checks.length - failed} checks passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
