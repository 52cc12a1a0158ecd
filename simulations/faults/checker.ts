import { isTerminal, type JobState } from '#protocol/job.ts';
import { compareTokens, maxToken, tokenAfter, zeroToken } from '#protocol/token.ts';
import {
  type EventLine,
  type HistoryLine,
  type JobLine,
  type NemesisLine,
  type OpLine,
  restFormat,
} from './history.ts';
import { endTypes, type Finding, fateOf, isChange, isEarlier, type Story, tell } from './job-story.ts';
import { contradictedAnswers, wrongEnds } from './wrong-ends.ts';

/** What a history says. The first four counts are those of Jepsen's queue checker. */
export interface Verdict {
  fault: string;
  run: number;
  seed: number;
  /** That the run was to submit. */
  jobs: number;
  /** Where its cluster was in its life: the run for which it was started, runs and events before this one and after. */
  place: { clusterFrom: number; runsBefore: number; afterSeq: number; lastSeq: number };
  /** Digest of the sources of hubs and machines; null where the history does not tell. */
  build: string | null;
  /** Whether its last line carries the digest of the others: histories of former versions do not. */
  sealed: boolean;
  submits: { attempted: number; acknowledged: number; refused: number; unknown: number };
  /** Acknowledged submits that have not exactly one end with its effect. */
  lost: Finding[];
  /** Rows, ends or effects of jobs that nobody submitted, or whose submit was refused for certain. */
  unexpected: Finding[];
  /** Jobs with more than one committed effect. */
  duplicated: Finding[];
  /** Submits without an answer that were accepted all the same, and ended. */
  recovered: number;
  /** Submits without an answer that were not accepted. */
  absent: number;
  /** Commits under a token that had been shut out before. */
  staleWrites: Finding[];
  /** Answers that the end of the history contradicts, and gaps in the numbers of events. */
  contradicted: Finding[];
  /** Ends of accepted jobs that neither the load nor their runs explain, and lives that nobody began. */
  wrongEnds: Finding[];
  states: Partial<Record<JobState, number>>;
  /** Executions that left their files and were not the committed ones: work done for nothing. */
  wastedRuns: number;
  /** Runs that ended because a lease did. */
  expiredRuns: number;
  injections: number;
  /** From a heal to the next committed effect, the longest; null where no work was left after any heal. */
  firstEffectMs: number | null;
  /** From the last heal to the last end; null where everything had ended before it. */
  allEndedMs: number | null;
  /** Whether both stores were at rest at the end; null where it did not settle, or a former version does not tell. */
  atRest: boolean | null;
  /** What was left in the Broker when every job had ended, and where the stores disagreed. */
  left: string[];
  settled: boolean;
  /** What did not come in time, or why the run could not be made. */
  detail: string;
  ok: boolean;
}

/** Events of exits: they shut out their token and all before it. */
const exitTypes = ['job.expired', 'job.released', 'job.retried', 'job.failed'];

/** Judges a history that `readHistory` has read. Reads nothing else. */
export function checkHistory(lines: readonly HistoryLine[]): Verdict {
  const [meta] = lines;
  const end = lines.at(-1);
  if (meta?.kind !== 'meta' || end?.kind !== 'end') throw new RangeError('not a whole history');
  const events = lines.filter((line) => line.kind === 'event').toSorted((a, b) => a.seq - b.seq);
  const stories = tell(lines, events);
  const verdict: Omit<Verdict, 'ok'> = {
    fault: meta.fault,
    run: meta.run,
    seed: meta.seed,
    jobs: meta.jobs,
    place: {
      clusterFrom: meta.clusterFrom,
      runsBefore: meta.runsBefore,
      afterSeq: meta.afterSeq,
      lastSeq: events.at(-1)?.seq ?? meta.afterSeq,
    },
    build: meta.versions['sources'] ?? null,
    sealed: end.sha256 !== undefined,
    submits: { attempted: 0, acknowledged: 0, refused: 0, unknown: 0 },
    lost: [],
    unexpected: [],
    duplicated: [],
    recovered: 0,
    absent: 0,
    staleWrites: [],
    contradicted: gaps(events, meta.afterSeq),
    wrongEnds: [],
    states: {},
    wastedRuns: 0,
    expiredRuns: events.filter(({ type }) => type === 'job.expired').length,
    injections: lines.filter((line) => line.kind === 'nemesis' && line.action === 'inject').length,
    ...recovery(lines, events),
    ...restOf(lines, end.outcome === 'settled' && meta.format >= restFormat),
    settled: end.outcome === 'settled',
    detail: end.detail,
  };
  // Of a run that could not be made nothing was read back: its jobs cannot be judged.
  if (end.outcome === 'failed') return { ...verdict, contradicted: [], ok: false };
  for (const story of stories) judge(story, verdict);
  const { lost, unexpected, duplicated, staleWrites, contradicted, settled } = verdict;
  const bad = [lost, unexpected, duplicated, staleWrites, contradicted, verdict.wrongEnds];
  const isQuiet = settled && verdict.atRest !== false;
  return { ...verdict, ok: isQuiet && bad.every((findings) => findings.length === 0) };
}

/** A run that settled was looked at; that nothing tells so is no rest. */
function restOf(lines: readonly HistoryLine[], mustTell: boolean): Pick<Verdict, 'atRest' | 'left'> {
  const told = lines.findLast((line) => line.kind === 'rest');
  if (told === undefined) return { atRest: mustTell ? false : null, left: [] };
  return { atRest: told.left.length === 0, left: told.left };
}

/** Submits without an answer that left nothing yet: one that is accepted later is met by the next run. */
export function openSubmits(lines: readonly HistoryLine[]): OpLine[] {
  const open = tell(lines, []).filter(
    (story) => fateOf(story) === 'unknown' && story.job === null && !isEarlier(story),
  );
  return open.flatMap(({ submits }) => submits.find(({ type }) => type === 'invoke') ?? []);
}

function judge(story: Story, verdict: Omit<Verdict, 'ok'>): void {
  const { jobId, job } = story;
  const fate = fateOf(story);
  const { submits } = verdict;
  const isThere =
    job !== null || story.events.some(isChange) || story.runs.length > 0 || story.effects.length > 0;
  // It was counted in its own run, and nothing came of it since.
  if (isEarlier(story) && !isThere) return;
  if (fate !== 'none') submits.attempted += 1;
  if (fate !== 'none') submits[fate] += 1;
  if ((fate === 'none' || fate === 'refused') && isThere)
    verdict.unexpected.push({
      jobId,
      why: fate === 'none' ? 'nobody submitted it' : 'its submit was refused',
    });
  if (fate === 'unknown' && job === null && isThere)
    verdict.unexpected.push({ jobId, why: 'it left events or files and has no row' });
  if (fate === 'unknown' && !isThere) verdict.absent += 1;
  if (fate === 'acknowledged' || (fate === 'unknown' && job !== null)) {
    const why = lossOf(story);
    if (job !== null) verdict.wrongEnds.push(...wrongEnds(story));
    if (why !== null) verdict.lost.push({ jobId, why });
    else if (fate === 'unknown') verdict.recovered += 1;
  }
  verdict.duplicated.push(...duplicates(story));
  verdict.staleWrites.push(...staleWrites(story));
  verdict.contradicted.push(...contradictions(story));
  if (job !== null) verdict.states[job.state] = (verdict.states[job.state] ?? 0) + 1;
  const committed = new Set(job?.outputs?.map(tokenOfKey) ?? []);
  const tokens = new Set(story.effects.map((effect) => effect.slice(0, effect.indexOf('/'))));
  verdict.wastedRuns += [...tokens].filter((token) => !committed.has(token)).length;
}

/** `results/<job>/<token>/<name>`. */
const tokenOfKey = (key: string) => key.split('/')[2] ?? '';

/** Why an accepted job is lost; null where it ended once, with its effect. */
function lossOf({ job, events, runs, effects, submits }: Story): string | null {
  if (job === null) return 'it has no row';
  if (!isTerminal(job.state)) return `it never ended: ${job.state}`;
  const ends = events.filter(({ type }) => endTypes.includes(type));
  const requeues = events.filter(({ type }) => type === 'job.requeued').length;
  if (ends.length <= requeues) return `it is ${job.state} without an event that says so`;
  if (ends.at(-1)?.type !== `job.${job.state}`)
    return `it is ${job.state}, its last end says ${ends.at(-1)?.type}`;
  if (job.state !== 'succeeded') return null;
  if (!runs.some(({ outcome, token }) => outcome === 'succeeded' && token === job.token))
    return 'it succeeded without a run that did';
  const asked = submits.find(({ outputs }) => outputs !== undefined)?.outputs ?? 0;
  const keys = job.outputs ?? [];
  if (keys.length !== asked) return `its result names ${keys.length} files of ${asked}`;
  const missing = keys.find((key) => !effects.includes(key.split('/').slice(2).join('/')));
  return missing === undefined ? null : `the file ${missing} of its result is not there`;
}

function duplicates({ jobId, events, runs }: Story): Finding[] {
  const commits = events.filter(({ type }) => type === 'job.succeeded').length;
  if (commits > 1) return [{ jobId, why: `${commits} completions were committed` }];
  const succeeded = runs.filter(({ outcome }) => outcome === 'succeeded').length;
  if (succeeded > 1) return [{ jobId, why: `${succeeded} runs succeeded` }];
  const ends = events.filter(({ type }) => endTypes.includes(type)).length;
  const requeues = events.filter(({ type }) => type === 'job.requeued').length;
  if (ends > requeues + 1)
    return [{ jobId, why: `it ended ${ends} times and was requeued ${requeues} times` }];
  return [];
}

/** Walks a job's events in the order of their commits with the lowest token that may still write. */
function staleWrites({ jobId, events, job }: Story): Finding[] {
  const found: Finding[] = [];
  let floor = zeroToken;
  let newest = zeroToken;
  for (const { type, data } of events) {
    const token = typeof data['token'] === 'string' ? data['token'] : null;
    if (type === 'job.leased' && token !== null && data['late'] !== true) {
      if (compareTokens(token, newest) <= 0)
        found.push({ jobId, why: `token ${token} was given after ${newest}` });
      newest = maxToken(newest, token);
    }
    if (type === 'job.succeeded' && token !== null && compareTokens(token, floor) < 0)
      found.push({ jobId, why: `a completion under ${token} was committed, the floor was ${floor}` });
    if (type === 'job.requeued' && typeof data['fenceFloor'] === 'string')
      floor = maxToken(floor, data['fenceFloor']);
    if (exitTypes.includes(type) && token !== null) floor = maxToken(floor, tokenAfter(token));
    if (type === 'job.succeeded' && token !== null) found.push(...foreignFiles(jobId, token, job));
  }
  return found;
}

/** Files of the result that were made under another token than the one that was committed. */
function foreignFiles(jobId: string, token: string, job: JobLine | null): Finding[] {
  return (job?.outputs ?? [])
    .filter((key) => tokenOfKey(key) !== token)
    .map((key) => ({ jobId, why: `the completion under ${token} names the file ${key}` }));
}

/** Between the row and what the API says of it, and answers about an end that was none. */
function contradictions(story: Story): Finding[] {
  const { jobId, job } = story;
  const answers = contradictedAnswers(story);
  if (job === null || job.apiState === job.state) return answers;
  const why = `its row says ${job.state}, the API ${job.apiState ?? 'that there is none'}`;
  return [{ jobId, why }, ...answers];
}

/** `after` is the number before the first: on a cluster that stands, the last of the run before. */
function gaps(events: readonly EventLine[], after: number): Finding[] {
  const wrong = events.findIndex(({ seq }, index) => seq !== after + index + 1);
  if (wrong < 0) return [];
  return [{ jobId: '', why: `event ${after + wrong + 1} has the number ${events[wrong]?.seq}` }];
}

function recovery(
  lines: readonly HistoryLine[],
  events: readonly EventLine[],
): Pick<Verdict, 'firstEffectMs' | 'allEndedMs'> {
  const heals = lines
    .filter((line): line is NemesisLine => line.kind === 'nemesis' && line.action === 'heal')
    .map(({ atMs }) => atMs);
  const effects = events.filter(({ type }) => type === 'job.succeeded').map(({ atMs }) => atMs);
  const firsts = heals.flatMap((healMs) => {
    const later = effects.filter((atMs) => atMs >= healMs);
    return later.length === 0 ? [] : [Math.min(...later) - healMs];
  });
  const lastEndMs = Math.max(...events.filter(({ type }) => endTypes.includes(type)).map(({ atMs }) => atMs));
  const lastHealMs = Math.max(...heals);
  const rest = Number.isFinite(lastEndMs) && Number.isFinite(lastHealMs) ? lastEndMs - lastHealMs : -1;
  return {
    firstEffectMs: firsts.length === 0 ? null : Math.round(Math.max(...firsts)),
    allEndedMs: rest < 0 ? null : Math.round(rest),
  };
}
