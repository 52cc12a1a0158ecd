import { EmpError, ERROR_CODES, type ErrorCode, type FieldError } from '#protocol/errors.ts';

/** Exit codes of `emp`: docs/cli.md lists them for scripts, so none changes its meaning. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  notAllowed: 5,
  timedOut: 6,
  interrupted: 130,
} as const;

interface Advice {
  exit: number;
  likely: string;
  try: string;
}

/** Errors that the command line itself finds; docs/cli.md has an anchor for each. */
export const CLI_ERRORS = {
  'EMP-USAGE': {
    exit: EXIT.usage,
    likely: 'an argument or option is missing or misspelt',
    try: 'emp COMMAND --help',
  },
  'EMP-HUB-UNREACHABLE': {
    exit: EXIT.unreachable,
    likely: 'no hub is running there',
    try: 'emp dev, or emp --hub URL …',
  },
  'EMP-NOT-A-HUB': {
    exit: EXIT.unreachable,
    likely: 'another server has this port',
    try: 'emp --hub URL with the URL that `emp dev` or `emp hub` printed',
  },
  'EMP-WAIT-TIMEOUT': {
    exit: EXIT.timedOut,
    likely: 'the work takes longer than --timeout; it goes on without you',
    try: 'emp job ID, or a longer --timeout',
  },
  'EMP-JOB-FAILED': { exit: EXIT.failed, likely: 'the last run says why', try: 'emp job ID --timeline' },
  'EMP-INTERRUPTED': {
    exit: EXIT.interrupted,
    likely: 'you pressed Ctrl-C',
    try: 'emp jobs, to see what still runs',
  },
  'EMP-CHILD-FAILED': {
    exit: EXIT.failed,
    likely: 'its last lines above say why',
    try: 'again with -v, which shows what the processes log',
  },
  'EMP-MACHINE-FAILED': {
    exit: EXIT.failed,
    likely: 'the log above says why',
    try: 'mend the cause and start it again; its jobs run elsewhere meanwhile',
  },
  'EMP-SUPERSEDED': {
    exit: EXIT.notAllowed,
    likely: 'a newer process with the same machine id has joined',
    try: 'another --id, unless the newer one is meant to take over',
  },
  'EMP-OUTPUT-FAILED': {
    exit: EXIT.failed,
    likely: 'the folder cannot be written or the disk is full',
    try: 'another --out or --download folder',
  },
  'EMP-CHAOS-FOUND': {
    exit: EXIT.failed,
    likely: 'a promise was broken under a fault; each finding above names its job',
    try: 'emp chaos check FILE, and the logs beside the history',
  },
  'EMP-SIM-FOUND': {
    exit: EXIT.failed,
    likely: 'an invariant was broken, or the runs did not meet what they are for',
    try: 'docs/simulation.md, Reading a failure',
  },
  'EMP-BUG': { exit: EXIT.failed, likely: 'a bug in emp', try: 'again with -v, and report what it prints' },
} as const satisfies Record<string, Advice>;
export type CliErrorCode = keyof typeof CLI_ERRORS;

/** What most often stands behind a code of the hub, and what to do. */
const HUB_ADVICE: Readonly<Record<ErrorCode, Omit<Advice, 'exit'>>> = {
  VALIDATION_FAILED: {
    likely: 'a field of the request has the wrong form',
    try: 'mend the field named above; emp run --dry-run checks without running',
  },
  BODY_TOO_LARGE: { likely: 'a file was put into the payload', try: 'send files with --input' },
  UNKNOWN_SERVICE: {
    likely: 'no machine that offers this service has joined',
    try: 'emp machines, then start one: emp machine --services NAME',
  },
  REQUIREMENT_UNMET: {
    likely: 'the job asks for hardware that no machine has',
    try: 'emp machines, and lower the requirement named above',
  },
  UNKNOWN_MODEL: {
    likely: 'the model was never registered here',
    try: 'emp models, or emp models register for the built-in ones',
  },
  IDEMPOTENCY_CONFLICT: { likely: 'the id was used for another job', try: 'another --id' },
  NOT_FOUND: {
    likely: 'the id is misspelt, or belongs to another hub',
    try: 'emp jobs, emp machines or emp models',
  },
  METHOD_NOT_ALLOWED: {
    likely: 'emp and the hub are of different versions',
    try: 'emp status, which prints the version of the hub',
  },
  CONFLICT: {
    likely: 'it has ended, or is in a state that does not allow this',
    try: 'emp job ID --timeline',
  },
  UNAUTHORIZED: { likely: 'the token is missing, wrong or too old', try: 'a new token' },
  FORBIDDEN: {
    likely: 'the hub answers to loopback names only, or the token does not allow this',
    try: 'emp --hub http://127.0.0.1:PORT',
  },
  QUEUE_FULL: {
    likely: 'too many jobs wait, of all or of what a limit counts',
    try: 'again later, or emp limits and emp status to see what is waiting',
  },
  RECORDS_UNAVAILABLE: {
    likely: 'the database does not answer the hub',
    try: 'emp status, and the log of the hub',
  },
  BROKER_UNAVAILABLE: {
    likely: 'the broker is being rebuilt or does not answer the hub',
    try: 'again in a few seconds; accepted jobs are safe',
  },
  DRAINING: { likely: 'the hub is shutting down', try: 'again in a few seconds' },
  TIMEOUT: { likely: 'the hub is overloaded or the network is slow', try: 'again, or a longer --timeout' },
  LINK_CLOSED: { likely: 'the machine lost its hub', try: 'emp machines' },
  FRAME_INVALID: {
    likely: 'emp, hub and machine are of different versions',
    try: 'emp status, and the same version everywhere',
  },
  INBOX_FULL: { likely: 'the machine is overloaded', try: 'again later' },
  CONFIG_INVALID: {
    likely: 'a setting is missing or has the wrong form',
    try: 'mend the setting named above: docs/hub.md for a hub, docs/machine.md for a machine',
  },
  PAYLOAD_INVALID: {
    likely: 'the payload does not fit this service',
    try: 'mend the field named above; emp run --dry-run checks without running',
  },
  INPUT_INVALID: {
    likely: 'the file is missing, empty or not of a kind this service reads',
    try: 'another --input',
  },
  INPUT_UNAVAILABLE: {
    likely: 'the input could not be fetched by the machine',
    try: 'emp job ID --timeline',
  },
  OUTPUT_MISSING: {
    likely: 'a result was changed or removed after it was committed',
    try: 'emp requeue ID makes it again',
  },
  MODEL_UNAVAILABLE: { likely: 'no source delivered the model', try: 'emp models, and its sources' },
  MODEL_CHECKSUM_MISMATCH: {
    likely: 'a source delivers another file than the registered one',
    try: 'emp models, and its sources',
  },
  DISK_FULL: {
    likely: 'the disk of the machine is full',
    try: 'emp machines, and more disk for the machine',
  },
  CONNECTOR_FAILED: {
    likely: 'the service on the machine crashed',
    try: 'emp job ID --timeline, and the log of that machine',
  },
  JOB_FAILED: { likely: 'the job itself cannot succeed', try: 'emp job ID --timeline' },
  JOB_STALLED: { likely: 'the service hangs', try: 'emp job ID --timeline, and the log of that machine' },
  JOB_CANCELLED: { likely: 'somebody cancelled it', try: 'emp requeue ID to run it after all' },
  LEASE_LOST: { likely: 'the machine was silent for longer than its lease', try: 'emp job ID --timeline' },
  INTERNAL: { likely: 'a bug in the hub', try: 'the log of the hub, with the trace id above' },
};

const HUB_EXIT: Partial<Record<ErrorCode, number>> = {
  NOT_FOUND: EXIT.notFound,
  UNAUTHORIZED: EXIT.notAllowed,
  FORBIDDEN: EXIT.notAllowed,
  TIMEOUT: EXIT.timedOut,
};

/** An error that the command line found itself; the advice of its code unless given here. */
export class CliError extends Error {
  readonly code: CliErrorCode;
  readonly likely: string;
  readonly try: string;
  /** Printed on stdout with `--json` although the command failed, e.g. the job that did not succeed. */
  readonly data: unknown;

  constructor(
    code: CliErrorCode,
    message: string,
    options: { likely?: string; try?: string; cause?: unknown; data?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'CliError';
    this.code = code;
    this.likely = options.likely ?? CLI_ERRORS[code].likely;
    this.try = options.try ?? CLI_ERRORS[code].try;
    this.data = options.data;
  }
}

/** What is printed about a failed command: four lines for people, one JSON object for scripts. */
export interface ErrorReport {
  error: string;
  likely: string;
  try: string;
  code: string;
  exit: number;
  /** Wrong fields, as the hub names them. */
  errors: FieldError[];
  traceId: string | null;
}

/** Text form of a hub's code: `JOB_FAILED` is printed as `EMP-JOB-FAILED`. */
export function printedCode(code: ErrorCode): string {
  return `EMP-${code.replaceAll('_', '-')}`;
}

function isNamed(error: unknown, name: string): error is Error {
  return error instanceof Error && error.name === name;
}

/** What lists the things that a command names, by its first word. */
const LISTS: Readonly<Record<string, string>> = {
  job: 'emp jobs',
  cancel: 'emp jobs',
  requeue: 'emp jobs',
  machines: 'emp machines',
  drain: 'emp machines',
  cordon: 'emp machines',
  uncordon: 'emp machines',
  limits: 'emp limits',
  schedules: 'emp schedules',
  bulk: 'emp bulk',
  resume: 'emp status, which says what is held back',
};

/** Advice on a code of the hub for whoever typed `command`, e.g. `emp limits set`. */
function hubAdvice(code: ErrorCode, command: string): Omit<Advice, 'exit'> {
  const usual = HUB_ADVICE[code];
  const list = LISTS[command.split(' ')[1] ?? ''];
  if (code === 'NOT_FOUND' && list !== undefined)
    return { likely: 'it is misspelt, was removed, or belongs to another hub', try: list };
  if (code === 'VALIDATION_FAILED' && command !== 'emp run')
    return { ...usual, try: `mend what is named above: ${command} --help` };
  return usual;
}

/** Report of anything that a command can throw; `command` as it is typed, for what to try next. */
export function reportError(error: unknown, command = 'emp'): ErrorReport {
  if (error instanceof CliError) {
    const { code, message, likely } = error;
    return {
      error: message,
      likely,
      try: error.try === CLI_ERRORS['EMP-USAGE'].try ? `${command} --help` : error.try,
      code,
      exit: CLI_ERRORS[code].exit,
      errors: [],
      traceId: null,
    };
  }
  // By name, so that `emp --help` does not load the client.
  if (isNamed(error, 'HubUnreachable'))
    return reportError(new CliError('EMP-HUB-UNREACHABLE', error.message));
  if (isNamed(error, 'NotAHub')) return reportError(new CliError('EMP-NOT-A-HUB', error.message));
  if (error instanceof EmpError) {
    const traceId = error.fields['traceId'];
    return {
      error: error.message || ERROR_CODES[error.code].title,
      ...hubAdvice(error.code, command),
      code: printedCode(error.code),
      exit: HUB_EXIT[error.code] ?? EXIT.failed,
      errors: error.errors,
      traceId: typeof traceId === 'string' ? traceId : null,
    };
  }
  return reportError(
    new CliError('EMP-BUG', error instanceof Error ? error.message : String(error), { cause: error }),
  );
}
