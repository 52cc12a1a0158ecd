import type { Broker, BrokerStats, BrokerView, TurnsAnswer } from '#protocol/broker.ts';
import type { ErrorCode } from '#protocol/errors.ts';
import type { Job, JobRun, JobTransition } from '#protocol/job.ts';
import type { JsonObject } from '#protocol/json.ts';
import type { Records } from '#protocol/records.ts';
import type { PortCall, PortLayer } from './port-layer.ts';

/** A call that the store has done, with its arguments and its answer, in the order of execution. */
type DoneCall<P> = {
  [K in keyof P]: P[K] extends (...args: infer A) => Promise<infer R>
    ? { method: K; args: A; answer: R }
    : never;
}[keyof P];

/** Something that happened in a virtual world and that a checker may judge. */
export type Observation =
  | ({ kind: 'broker'; process: string } & DoneCall<Broker>)
  | ({ kind: 'records'; process: string } & DoneCall<Records>)
  /** A client's submission has reached a hub; `run` is that start of its process, `ask` numbers them. */
  | { kind: 'asked'; ask: number; jobId: string; process: string; run: string }
  /** What the hub said to it, if it ever did; null: accepted. */
  | { kind: 'answered'; ask: number; jobId: string; refusal: { code: ErrorCode; retryable: boolean } | null }
  /** A client was told that its job can never be accepted, and asks no more. */
  | { kind: 'gaveUp'; jobId: string }
  /** A client was told that its job is accepted. */
  | { kind: 'accepted'; jobId: string }
  /** The Broker lost writes, or all: what it said about leases before is no longer binding. */
  | { kind: 'brokerLost' }
  /** All faults are over: from here on work is done in time. */
  | { kind: 'healed' }
  /** A frame left a process on its link; `twice`: it will arrive twice. */
  | { kind: 'frame'; machine: string; direction: 'up' | 'down'; text: string; twice?: boolean }
  /** A service of a machine's process took a run up, or has let go of it. */
  | {
      kind: 'service';
      process: string;
      change: 'began' | 'ended';
      jobId: string;
      token: string;
      /** Runs that its card carries at once. */
      slots: number;
      /** Models that the run works with; of these the ones that do not lie on the disk. */
      models: readonly string[];
      missing: readonly string[];
    }
  /** A machine's process lets a service forget a model before its files are removed. */
  | { kind: 'evicted'; process: string; modelId: string }
  /** Something that only the simulated outside can tell, in words. */
  | { kind: 'noted'; what: string };

type FrameSeen = Extract<Observation, { kind: 'frame' }>;

/** A frame as its receiver reads it, not checked: what our own processes send has its form. */
export interface SeenFrame {
  id?: number;
  re?: number;
  type?: string;
  body?: JsonObject;
}

const parsed = new WeakMap<FrameSeen, SeenFrame>();

/** The frame behind an observation; several checkers look at each, it is read once. */
export function frameOf(seen: FrameSeen): SeenFrame {
  const known = parsed.get(seen);
  if (known !== undefined) return known;
  const frame = JSON.parse(seen.text) as SeenFrame;
  parsed.set(seen, frame);
  return frame;
}

export interface Timeline {
  transitions: JobTransition[];
  runs: JobRun[];
}

/** The stores as they stand, read past all faults. `atRest`: nothing is under way, they must agree. */
export interface AuditView {
  jobs: Job[];
  broker: Map<string, BrokerView>;
  stats: BrokerStats;
  brokerOpen: boolean;
  atRest: boolean;
  /** What the audit of the Broker's structures found; empty where none was asked for. */
  indexProblems: readonly string[];
  /** At rest: every job's timeline, and the events that the Broker still keeps. Empty and 0 else. */
  timelines: ReadonlyMap<string, Timeline>;
  events: number;
}

/** One invariant, watched step by step and audited as a whole now and then. Throws `Violation`. */
export interface Checker {
  readonly name: string;
  observe?(observation: Observation): void;
  audit?(view: AuditView): void;
}

/** An invariant does not hold: a bug in what is simulated, never an expected refusal. */
export class Violation extends Error {
  readonly checker: string;
  readonly jobId: string | null;

  constructor(checker: string, options: { detail: string; jobId?: string }) {
    super(`${checker}: ${options.detail}`);
    this.name = 'Violation';
    this.checker = checker;
    this.jobId = options.jobId ?? null;
  }
}

/** A layer right above a store that reports each call once it is done; failed calls did nothing. */
export function observing(observe: (observation: Observation) => void): PortLayer {
  return async (call, next) => {
    const answer = await next();
    if (call.port === 'broker' || call.port === 'records') {
      const { port: kind, process } = call;
      for (const done of stepsOf(call, answer)) observe({ kind, process, ...done } as unknown as Observation);
    }
    return answer;
  };
}

type Step = Pick<PortCall, 'method' | 'args'> & { answer: unknown };

/** A step of many is told as itself and as the completions and claims that it stands for, in their order. */
function stepsOf({ port, method, args }: PortCall, answer: unknown): Step[] {
  const whole: Step = { method, args, answer };
  if (port !== 'broker' || method !== 'turns') return [whole];
  const [asked] = args as Parameters<Broker['turns']>;
  const given = answer as TurnsAnswer;
  const each = (name: string, requests: unknown[], answers: unknown[]) =>
    requests.map((request, at): Step => ({ method: name, args: [request], answer: answers[at] }));
  const ended = each('complete', asked.completions, given.completions);
  return [whole, ...ended, ...each('claim', asked.claims, given.claims)];
}
