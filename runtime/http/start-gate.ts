/** Requests that came before their hub had started wait here: its port is taken before its roles are. */
export class StartGate {
  #isOpen = false;
  readonly #waiting: (() => void)[] = [];

  /** Calls `go` at once where the gate is open, else when it opens. */
  pass(go: () => void): void {
    if (this.#isOpen) go();
    else this.#waiting.push(go);
  }

  open(): void {
    this.#isOpen = true;
    for (const go of this.#waiting.splice(0)) go();
  }
}
