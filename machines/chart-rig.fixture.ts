import {
  type AnyActorLogic,
  type AnyActorRef,
  type AnyEventObject,
  type AnyStateMachine,
  createActor,
  fromPromise,
  fromTransition,
  type InspectionEvent,
} from 'xstate';
import type { Clock } from '#protocol/env.ts';

/** Which states and transitions of a chart some test has been through. */
export class ChartCoverage {
  readonly #chart: AnyStateMachine;
  readonly #states = new Set<string>();
  readonly #transitions = new Set<string>();

  constructor(chart: AnyStateMachine) {
    this.#chart = chart;
  }

  readonly inspect = (event: InspectionEvent): void => {
    if (event.type === '@xstate.microstep') {
      const taken = (event as unknown as { _transitions: TransitionLike[] })._transitions;
      for (const transition of taken) {
        this.#transitions.add(keyOf(transition));
        // States that are left within the step that enters them appear in no snapshot.
        this.#states.add(transition.source.id);
      }
    }
    if (event.type !== '@xstate.microstep' && event.type !== '@xstate.snapshot') return;
    const nodes = (event.snapshot as { _nodes?: { id: string }[] })._nodes ?? [];
    for (const node of nodes) this.#states.add(node.id);
  };

  /** Ids of states and keys of transitions that no test has met. */
  missing(): { states: string[]; transitions: string[] } {
    const nodes = allNodes(this.#chart.root as unknown as NodeLike);
    const transitions = nodes.flatMap((node) =>
      [...node.transitions.values(), node.always ?? []].flat().map(keyOf),
    );
    return {
      states: nodes.map((node) => node.id).filter((id) => !this.#states.has(id)),
      transitions: [...new Set(transitions)].filter((key) => !this.#transitions.has(key)),
    };
  }
}

interface NodeLike {
  id: string;
  states: Record<string, NodeLike>;
  transitions: Map<string, TransitionLike[]>;
  always?: TransitionLike[] | undefined;
}

interface TransitionLike {
  source: NodeLike;
  eventType: string;
  target?: { id: string }[] | undefined;
}

function allNodes(node: NodeLike): NodeLike[] {
  return [node, ...Object.values(node.states).flatMap(allNodes)];
}

/** A transition by where it starts, its event, its place among the candidates, and where it leads. */
function keyOf(transition: TransitionLike): string {
  const { source, eventType, target } = transition;
  const candidates = (eventType === '' ? source.always : source.transitions.get(eventType)) ?? [];
  const place = candidates.length > 1 ? `[${candidates.indexOf(transition)}]` : '';
  return `${source.id} --${eventType || 'always'}${place}--> ${target?.map((node) => node.id).join(',') ?? 'itself'}`;
}

export interface Sent {
  to: string;
  event: AnyEventObject;
}

/** A chart alone in a system: everyone it speaks to is there and only writes down what it is told. */
export interface ChartRig {
  subject: AnyActorRef;
  sent: Sent[];
  /** Events to one peer, oldest first. */
  to(peer: string): AnyEventObject[];
  send(event: AnyEventObject): void;
  /** State value as text. */
  state(): string;
  context(): Record<string, unknown>;
}

export function chartRig(options: {
  chart: AnyActorLogic;
  input?: unknown;
  clock: Clock;
  peers: readonly string[];
  systemId?: string;
  coverage?: ChartCoverage;
}): ChartRig {
  const sent: Sent[] = [];
  const recorder = (to: string) =>
    fromTransition((state: null, event: AnyEventObject) => {
      sent.push({ to, event });
      return state;
    }, null);
  const inspect = (event: InspectionEvent) => options.coverage?.inspect(event);
  const parent = createActor(recorder('parent'), { clock: options.clock, inspect, systemId: 'parent' });
  parent.start();
  const spawn = (logic: AnyActorLogic, id: string, input?: unknown) => {
    // `parent` is how XState itself spawns; its types keep it internal.
    const child = createActor(logic, { parent, id, systemId: id, input } as never);
    child.start();
    return child as AnyActorRef;
  };
  for (const peer of options.peers) spawn(recorder(peer), peer);
  const subject = spawn(options.chart, options.systemId ?? 'subject', options.input);
  return {
    subject,
    sent,
    to: (peer) => sent.filter((entry) => entry.to === peer).map((entry) => entry.event),
    send: (event) => subject.send(event),
    state: () => JSON.stringify(subject.getSnapshot().value),
    context: () => subject.getSnapshot().context as Record<string, unknown>,
  };
}

/** An effect in the hands of a test: it answers when the test does. */
export interface Question<TOutput, TInput> {
  logic: ReturnType<typeof fromPromise<TOutput, TInput>>;
  asked: { input: TInput; signal: AbortSignal }[];
  answer(output: TOutput): Promise<void>;
  fail(error: unknown): Promise<void>;
}

export function question<TOutput, TInput>(): Question<TOutput, TInput> {
  const asked: Question<TOutput, TInput>['asked'] = [];
  const open: { resolve: (output: TOutput) => void; reject: (error: unknown) => void }[] = [];
  const next = () => {
    const pending = open.shift();
    if (pending === undefined) throw new Error('nothing was asked');
    return pending;
  };
  // Promise actors hand their result over after a few turns of the microtask queue.
  const settle = async () => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  return {
    logic: fromPromise<TOutput, TInput>(({ input, signal }) => {
      asked.push({ input, signal });
      return new Promise((resolve, reject) => open.push({ resolve, reject }));
    }),
    asked,
    answer: (output) => {
      next().resolve(output);
      return settle();
    },
    fail: (error) => {
      next().reject(error);
      return settle();
    },
  };
}
