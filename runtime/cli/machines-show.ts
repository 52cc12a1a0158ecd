import { MachineId } from '#protocol/names.ts';
import type { MachineView } from '#runtime/hub/machines.ts';
import { type CommandContext, connect } from './context.ts';
import { bytes, duration, time } from './format.ts';
import { seen, stateOf, worksFor } from './machines.ts';
import { typed } from './names.ts';
import { printable } from './output.ts';

/** `emp machines show`. */
export async function show(context: CommandContext, asked: string): Promise<void> {
  const { out, signal } = context;
  const machineId = typed(MachineId, asked, 'emp machines');
  const found = await (await connect(context)).machine(machineId, { signal });
  out.result(found, () => {
    for (const [name, value] of linesOf(found))
      out.line(`${out.style('dim', name.padEnd(11))} ${printable(value)}`);
  });
}

type Line = [name: string, value: string];

function linesOf(found: MachineView): Line[] {
  const { machineClass } = found;
  const { region, tags, environment } = machineClass;
  return [
    ['id', found.machineId],
    ['state', stateOf(found)],
    ['health', health(found.report)],
    ['class', found.classId],
    ['pool', machineClass.pool],
    ['works for', worksFor(machineClass)],
    ['hub', hubOf(found)],
    ['incarnation', String(found.incarnation)],
    ['joined', `${time(found.joinedAtMs)}, ${duration(Date.now() - found.joinedAtMs)} ago`],
    ['seen', seen(found)],
    ...machineClass.services.map(
      ({ service, version, slots }): Line => [
        'service',
        `${service} ${version}, ${slots} slot${slots === 1 ? '' : 's'}`,
      ],
    ),
    ...(tags.length === 0 ? [] : [['tags', tags.join(', ')] as Line]),
    ...(region === null ? [] : [['region', region] as Line]),
    ...(environment === undefined ? [] : [['environment', environment] as Line]),
    ['cores', String(machineClass.cpuCores)],
    ['memory', mebibytes(machineClass.ramMb)],
    ['cards', cards(machineClass)],
    ['disk', disk(found)],
    ...modelLines(found),
    ...jobLines(found),
  ];
}

const mebibytes = (count: number) => bytes(count * 1_048_576);

/** Of one that has not reported yet, and of one that is gone, nothing is known. */
function health({ state, reasons }: MachineView['report']): string {
  if (typeof state !== 'string') return '-';
  const why = Array.isArray(reasons) ? reasons.filter((reason) => typeof reason === 'string') : [];
  return why.length === 0 ? state : `${state}: ${why.join('; ')}`;
}

function hubOf({ linked, hubId }: MachineView): string {
  if (linked) return hubId ?? '-';
  return hubId === null ? 'none' : `none, ${hubId} was the last`;
}

function cards({ gpus = [], vramMb }: MachineView['machineClass']): string {
  if (gpus.length === 0 && vramMb === 0) return 'none';
  const names = gpus.length === 0 ? 'of no known model' : gpus.join(', ');
  return `${names}; ${mebibytes(vramMb)} on the smallest`;
}

function disk({ machineClass, report }: MachineView): string {
  const { diskFreeBytes } = report;
  const models = `${mebibytes(machineClass.diskMb)} for models`;
  if (typeof diskFreeBytes !== 'number') return models;
  // A machine reports 0 before it has measured, and where it cannot.
  return `${models}; ${diskFreeBytes === 0 ? 'nothing free, or not measured' : `${bytes(diskFreeBytes)} free`}`;
}

function modelLines({ residency }: MachineView): Line[] {
  const kept = residency.filter(({ state }) => state !== 'gone');
  if (kept.length === 0) return [['models', 'none']];
  return kept.map(({ modelId, state, bytes: size, fraction }) => [
    'model',
    `${modelId}  ${state}, ${state === 'fetching' ? `${Math.round(fraction * 100)} % of ` : ''}${bytes(size)}`,
  ]);
}

function jobLines({ running }: MachineView): Line[] {
  if (running.length === 0) return [['jobs', 'none']];
  return running.map(({ jobId }) => ['job', jobId]);
}
