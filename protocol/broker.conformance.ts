import { afterEach, describe } from 'vitest';
import { adoptionSuite } from './broker-adoption.conformance.ts';
import { beatSuite } from './broker-beat.conformance.ts';
import { beatsSuite } from './broker-beats.conformance.ts';
import { claimSuite } from './broker-claim.conformance.ts';
import { eventSuite } from './broker-events.conformance.ts';
import { exitSuite } from './broker-exit.conformance.ts';
import type { BrokerSetup, BrokerUnderTest } from './broker-fixture.conformance.ts';
import { incidentSuite } from './broker-incidents.conformance.ts';
import { interleavingSuite } from './broker-interleavings.conformance.ts';
import { lossSuite } from './broker-loss.conformance.ts';
import { orderSuite } from './broker-order.conformance.ts';
import { refusalSuite } from './broker-refusals.conformance.ts';
import { submitSuite } from './broker-submit.conformance.ts';
import { tableSuite } from './broker-table.conformance.ts';
import { turnsSuite } from './broker-turns.conformance.ts';
import { wakeSuite } from './broker-wake.conformance.ts';

/**
 * What every Broker must do. `setup` gives a fresh, empty and closed one for each test, set to
 * `brokerSettings`; it is closed after the test. Run it once per implementation:
 * `brokerConformance('memory', openTestBroker)`.
 */
export function brokerConformance(name: string, setup: BrokerSetup): void {
  describe(`broker: ${name}`, () => {
    const open: BrokerUnderTest[] = [];
    const tracked: BrokerSetup = async () => {
      const under = await setup();
      open.push(under);
      return under;
    };
    afterEach(async () => {
      for (const under of open.splice(0)) await under.close();
    });
    submitSuite(tracked);
    claimSuite(tracked);
    orderSuite(tracked);
    beatSuite(tracked);
    beatsSuite(tracked);
    turnsSuite(tracked);
    wakeSuite(tracked);
    exitSuite(tracked);
    eventSuite(tracked);
    lossSuite(tracked);
    adoptionSuite(tracked);
    interleavingSuite(tracked);
    incidentSuite(tracked);
    refusalSuite(tracked);
    tableSuite(tracked);
  });
}
