import { afterEach, describe } from 'vitest';
import { admissionsSuite } from './records-admissions.conformance.ts';
import { bulksSuite } from './records-bulks.conformance.ts';
import { cancelSuite } from './records-cancels.conformance.ts';
import { exitSuite } from './records-exits.conformance.ts';
import type { RecordsSetup, RecordsUnderTest } from './records-fixture.conformance.ts';
import { hubsSuite } from './records-hubs.conformance.ts';
import { machineSuite } from './records-machines.conformance.ts';
import { pausesSuite } from './records-pauses.conformance.ts';
import { ratesSuite } from './records-rates.conformance.ts';
import { recorderSuite } from './records-recorder.conformance.ts';
import { retentionSuite } from './records-retention.conformance.ts';
import { schedulesSuite } from './records-schedules.conformance.ts';
import { sharedSuite } from './records-shared.conformance.ts';
import { submitSuite } from './records-submit.conformance.ts';
import { tableSuite } from './records-table.conformance.ts';
import { waitingSuite } from './records-waiting.conformance.ts';

/**
 * What every Records must do. `setup` gives a fresh, empty store for each test; it is closed after
 * the test. Run it once per implementation: `recordsConformance('sqlite', openTestStore)`.
 */
export function recordsConformance(name: string, setup: RecordsSetup): void {
  describe(`records: ${name}`, () => {
    const open: RecordsUnderTest[] = [];
    const tracked: RecordsSetup = async () => {
      const under = await setup();
      open.push(under);
      return under;
    };
    afterEach(async () => {
      for (const under of open.splice(0)) await under.close();
    });
    submitSuite(tracked);
    admissionsSuite(tracked);
    ratesSuite(tracked);
    waitingSuite(tracked);
    exitSuite(tracked);
    cancelSuite(tracked);
    recorderSuite(tracked);
    machineSuite(tracked);
    bulksSuite(tracked);
    pausesSuite(tracked);
    schedulesSuite(tracked);
    retentionSuite(tracked);
    hubsSuite(tracked);
    sharedSuite(tracked);
    tableSuite(tracked);
  });
}
