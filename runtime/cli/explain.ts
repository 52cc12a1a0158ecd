import { JobId } from '#protocol/names.ts';
import type { Explanation, MachineVerdict } from '#runtime/hub/explanation.ts';
import { type CommandContext, connect } from './context.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

/** `emp job explain`. */
export async function explain(context: CommandContext, id: string): Promise<void> {
  const { out, signal } = context;
  const jobId = typed(JobId, id, 'emp jobs');
  const found = await (await connect(context)).explain(jobId, { signal });
  out.result(found, () => draw(context, found));
}

function draw({ out }: CommandContext, { state, summary, machines, counts, ahead }: Explanation): void {
  out.line(out.style('dim', printable(state)));
  for (const sentence of summary) out.line(printable(sentence));
  if (ahead !== null && ahead.leaders.length > 0) {
    out.line();
    out.table(
      ['BEFORE IT', 'CUSTOMER', 'PRIORITY', 'MODEL', 'WHY'],
      ahead.leaders.map(({ jobId, customer, priority, model, why }) => [
        jobId,
        customer,
        String(priority),
        model ?? '-',
        why,
      ]),
    );
  }
  if (machines.length === 0) return;
  out.line();
  out.table(
    ['MACHINE', 'POOL', 'FOR THIS JOB', 'RUNS', 'MODEL', 'LACKS'],
    machines.map((machine) => [
      machine.machineId,
      machine.pool,
      verdicts[machine.verdict],
      String(machine.running),
      machine.model ?? '-',
      lacks(machine),
    ]),
  );
  if (counts.considered > machines.length)
    out.line(`${counts.considered - machines.length} more machines are not shown.`);
}

const verdicts: Record<MachineVerdict['verdict'], string> = {
  holds: 'has it',
  free: 'fits, free',
  busy: 'fits, busy',
  closed: 'fits, closed',
  away: 'fits, away',
  unfit: 'cannot',
};

const lacks = ({ unmet }: MachineVerdict) =>
  unmet
    .map(({ requirement, needed, available }) => `${requirement}: needs ${needed}, has ${available}`)
    .join('; ');
