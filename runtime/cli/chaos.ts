import { EmpError } from '#protocol/errors.ts';
import type { CommandContext } from './context.ts';
import { CliError } from './errors.ts';

export interface ChaosRunOptions {
  runs: number;
  jobs: number;
  seed: number;
  out: string;
  fresh: boolean;
  resume: boolean;
}

type Session = typeof import('#simulations/faults/session.ts');

/** `emp chaos` and `emp chaos --list`: the faults that can be made, and what is missing for one. */
export async function chaosList({ out }: CommandContext): Promise<void> {
  const faults = (await loadSession()).listFaults();
  out.result({ faults }, () =>
    out.table(
      ['FAULT', 'WHAT IT DOES'],
      faults.map(({ name, summary, missing }) => [
        name,
        missing === null ? summary : `${summary} (not here: ${missing})`,
      ]),
    ),
  );
}

/** `emp chaos run FAULT|all`: exit code 0 when every run was clean, 1 with the findings otherwise. */
export async function chaosRun(
  context: CommandContext,
  name: string,
  options: ChaosRunOptions,
): Promise<void> {
  const { out, signal } = context;
  const session = await loadSession();
  const known = session.listFaults().map((fault) => fault.name);
  if (name !== 'all' && !known.includes(name)) {
    throw new CliError('EMP-USAGE', `there is no fault ${JSON.stringify(name)}`, {
      try: `emp chaos run all | ${known.join(' | ')}`,
    });
  }
  const missing = session.missingServers();
  if (missing !== null)
    throw new CliError('EMP-USAGE', missing, {
      likely: 'fault runs start servers of their own',
      try: 'apt-get install redis-server postgresql-15',
    });
  const report = await session.runFaults({
    ...options,
    names: name === 'all' ? [] : [name],
    outDir: options.out,
    signal,
    note: (text) => out.note(text),
  });
  out.result(report, () => {
    out.table(
      [
        ...[
          'FAULT',
          'RUNS',
          'JOBS',
          'LOST',
          'UNEXPECTED',
          'DUPLICATED',
          'RECOVERED',
          'STALE',
          'CONTRADICTED',
          'WRONG ENDS',
          'NOT AT REST',
        ],
        ...['FIRST EFFECT', 'ALL ENDED', ''],
      ],
      report.faults.map((row) => [
        ...[row.fault, String(row.runs), String(row.acknowledged), String(row.lost), String(row.unexpected)],
        ...[String(row.duplicated), String(row.recovered), String(row.staleWrites), String(row.contradicted)],
        ...[String(row.wrongEnds), String(row.notAtRest)],
        ...[ms(row.firstEffectMsMax), ms(row.allEndedMsMax)],
        row.skipped === null ? (row.ok === row.runs ? 'ok' : 'failed') : `skipped: ${row.skipped}`,
      ]),
    );
    for (const { history, what } of report.findings) for (const line of [history, ...what]) out.line(line);
  });
  if (!report.ok) throw found(report.findings.map(({ history }) => history));
}

/** `emp chaos check FILE`: the verdict on a history that somebody published. */
export async function chaosCheck({ out }: CommandContext, path: string): Promise<void> {
  const session = await loadSession();
  const { verdict, what } = checked(session, path);
  out.result(verdict, () => {
    out.line(`${verdict.fault}, run ${verdict.run}, seed ${verdict.seed}: ${session.describe(verdict)}`);
    for (const line of what) out.line(line);
    if (!verdict.sealed)
      out.line(
        'it carries no digest of its lines, as former versions wrote it: that their order was changed would not be seen',
      );
  });
  if (!verdict.ok) throw found([path]);
}

/** `emp chaos table DIR`: every history below the folder, checked again, as the table of docs/faults.md. */
export async function chaosTable({ out }: CommandContext, dir: string): Promise<void> {
  const { markdown, ...table } = (await loadSession()).tableOf(dir);
  if (table.faults.length === 0 && table.refused.length === 0)
    throw new CliError('EMP-USAGE', `${dir} has no history of emp chaos`, {
      likely: 'it is not the folder that was given as --out, or no run has ended yet',
      try: 'emp chaos run all --out DIR, then emp chaos table DIR',
    });
  out.result(table, () => {
    out.line(markdown);
    for (const { history, why } of table.madeAgain) out.note(`made again: ${history}: ${why}`);
    for (const why of table.apart) out.note(`not of one series: ${why}`);
    for (const { history, why } of table.refused) out.note(`left out: ${history}: ${why}`);
  });
  if (table.notClean.length > 0) throw found(table.notClean);
}

function checked(session: Session, path: string): ReturnType<Session['checkFile']> {
  try {
    return session.checkFile(path);
  } catch (error) {
    if (!(error instanceof EmpError)) throw error;
    const { missing } = error.fields;
    throw new CliError('EMP-USAGE', error.message, {
      likely: missing
        ? 'the path is misspelt, or that run has not begun'
        : 'it is no history of emp chaos, or it was cut or changed',
      try: 'emp chaos check DIR/FAULT/run-001/history.jsonl',
      cause: error,
    });
  }
}

function found(histories: string[]): CliError {
  return new CliError(
    'EMP-CHAOS-FOUND',
    `${histories.length} run(s) were not clean: ${histories.join(', ')}`,
  );
}

const ms = (value: number | null) => (value === null ? '-' : `${value} ms`);

/** The image ships without simulations/: reached when asked to, as benches are. */
async function loadSession(): Promise<Session> {
  try {
    return await import('#simulations/faults/session.ts');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new CliError('EMP-USAGE', 'fault runs are not part of this installation', {
      likely: 'it is the container image, which ships without simulations/',
      try: 'emp chaos in a clone of the repository',
      cause: error,
    });
  }
}
