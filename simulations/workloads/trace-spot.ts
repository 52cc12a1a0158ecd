import type { CsvRow } from './csv-rows.ts';
import type { Lane } from './supply.ts';
import type { Trace } from './trace.ts';

/** Spot availability, run-length coded (from skypilot-org/spot-traces): so many instances lived from start to end. */
export const spotColumns = ['trace', 'start_s', 'end_s', 'instances'];

const secondsLimit = 315_360_000;
/** Most instances of one trace, and lanes of one file. */
const instancesLimit = 1_000;
const lanesLimit = 10_000;

interface Run {
  startMs: number;
  endMs: number;
  instances: number;
}

/** Collects the rows of such a file, traces one after the other or mixed; `end` makes lanes of them. */
export class SpotTraceReader {
  readonly #runs = new Map<string, Run[]>();

  row(row: CsvRow): void {
    const name = row.text('trace');
    if (name === '' || name.length > 200)
      throw row.refusal('trace', 'a name of 1 to 200 characters is expected');
    const startMs = row.number('start_s', { min: 0, max: secondsLimit }) * 1000;
    const endMs = row.number('end_s', { min: 0, max: secondsLimit }) * 1000;
    const instances = row.number('instances', { min: 0, max: instancesLimit });
    if (endMs <= startMs) throw row.refusal('end_s', 'it must be later than start_s');
    if (!Number.isInteger(instances)) throw row.refusal('instances', 'a whole number is expected');
    const runs = this.#runs.get(name) ?? [];
    if (startMs < (runs.at(-1)?.endMs ?? 0)) {
      throw row.refusal(
        'start_s',
        `it is earlier than the end of the row before in trace "${name}"; sort the rows`,
      );
    }
    runs.push({ startMs, endMs, instances });
    this.#runs.set(name, runs);
  }

  end(file: string): Trace {
    const lanes = [...this.#runs.values()].flatMap(lanesOf).slice(0, lanesLimit);
    return { kind: 'spot', file, lanes };
  }
}

/**
 * One lane for each instance that a trace had at its best: lane n lives while more than n instances do. The
 * trace counts instances and does not name them, so the last one of the stack is always the one that goes.
 */
function lanesOf(runs: Run[]): Lane[] {
  const most = runs.reduce((max, run) => Math.max(max, run.instances), 1);
  const lengthMs = runs.at(-1)?.endMs ?? 0;
  return Array.from({ length: most }, (_, lane) => ({ lengthMs, alive: aliveSpans(runs, lane) }));
}

function aliveSpans(runs: Run[], lane: number): Lane['alive'] {
  const alive: Lane['alive'] = [];
  for (const { startMs, endMs, instances } of runs) {
    if (instances <= lane) continue;
    const last = alive.at(-1);
    if (last?.untilMs === startMs) last.untilMs = endMs;
    else alive.push({ fromMs: startMs, untilMs: endMs });
  }
  return alive;
}
