import type { BrokerEntry, SubmitAnswer, SubmitBatchAnswer } from '#protocol/broker.ts';

/**
 * Entries of one step. A thousand in one step would hold the server, and so every claim, for 20 ms; and while
 * it reads one part the client writes the next, which 500 in one step make impossible.
 */
const entriesPerStep = 100;

/**
 * Submits entries, at most 1 000, as steps of a hundred that are sent at once and carried out in order. Where one
 * of them is refused the whole batch is answered as it is, though parts may be there: who submits again is
 * answered `exists` for those.
 */
export async function submitInParts(
  entries: BrokerEntry[],
  step: (part: BrokerEntry[]) => Promise<SubmitBatchAnswer>,
): Promise<SubmitBatchAnswer> {
  if (entries.length <= entriesPerStep) return await step(entries);
  const sent: Promise<SubmitBatchAnswer>[] = [];
  for (let start = 0; start < entries.length; start += entriesPerStep)
    sent.push(step(entries.slice(start, start + entriesPerStep)));
  const answers: SubmitAnswer[] = [];
  for (const answer of await Promise.all(sent)) {
    if (answer.kind !== 'ok') return answer;
    answers.push(...answer.answers);
  }
  return { kind: 'ok', answers };
}
