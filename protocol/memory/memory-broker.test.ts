import { brokerConformance } from '#protocol/broker.conformance.ts';
import { memorySetup } from './setup.conformance.ts';

brokerConformance('memory', memorySetup);
