import { EmpError } from '#protocol/errors.ts';

/** One request at the gate: exactly one of these is called, once, unless it leaves before. */
export interface Visit {
  go(): void;
  /** With DRAINING when the start has failed or was given up, INBOX_FULL when too many wait. */
  refuse(error: EmpError): void;
}

/** Requests and upgrades that may wait at once. Each holds a socket and a few KiB; those behind are told to come again. */
const waitingLimit = 1_024;

/** Requests that came before their hub had started wait here: its port is taken before its roles are. */
export class StartGate {
  #state: 'starting' | 'open' | 'closed' = 'starting';
  readonly #limit: number;
  readonly #waiting = new Set<Visit>();

  constructor(options: { limit: number } = { limit: waitingLimit }) {
    this.#limit = options.limit;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /**
   * Lets the visit go or refuses it at once, or keeps it until the gate opens or closes. Null where nothing
   * waits, else how it leaves: who hung up must not take the place of another.
   */
  pass(visit: Visit): (() => void) | null {
    if (this.#state === 'open') {
      visit.go();
      return null;
    }
    if (this.#state === 'closed' || this.#waiting.size >= this.#limit) {
      visit.refuse(this.#state === 'closed' ? givenUp() : full(this.#limit));
      return null;
    }
    this.#waiting.add(visit);
    return () => void this.#waiting.delete(visit);
  }

  /** Lets in what waits, in its order. Not after `close`. */
  open(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'open';
    for (const visit of this.#take()) visit.go();
  }

  /** Refuses what waits and all that comes. A gate that was opened stays open: its hub ends by its own rules. */
  close(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'closed';
    for (const visit of this.#take()) visit.refuse(givenUp());
  }

  #take(): Visit[] {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    return waiting;
  }
}

const givenUp = () =>
  new EmpError('DRAINING', { detail: 'This hub ends before it has started: its log says why' });

const full = (limit: number) =>
  new EmpError('INBOX_FULL', {
    detail: `This hub is starting, and ${limit} requests wait for it already: try again in a second`,
  });
