import { expect, test } from 'vitest';
import { stepsOf } from './bench-peers-floor.ts';

const texts = (lines: string[]) =>
  stepsOf(lines).map((step) => step.map((command) => command.map((part) => part.toString('latin1'))));

test('the commands of a script belong to the call before them, those of clients to none', () => {
  expect(
    texts([
      '+1.1 [0 unix:/a] "PING"',
      '+1.2 [0 unix:/a] "FCALL" "emp1_claim" "1" "{emp:0}"',
      '+1.3 [0 lua] "GET" "a b"',
      '+1.4 [0 lua] "TIME"',
      '+1.5 [0 127.0.0.1:9] "evalsha" "00" "0"',
      '+1.6 [0 lua] "SET" "k" ""',
    ]),
  ).toEqual([[['GET', 'a b'], ['TIME']], [['SET', 'k', '']]]);
});

test('bytes are read as the server writes them', () => {
  const [step] = texts([
    '+1 [0 u] "FCALL" "f" "0"',
    String.raw`+2 [0 lua] "SET" "\x00\xff\"\\" "\r\n\t\a\b"`,
  ]);
  expect(step).toEqual([['SET', '\x00\xff"\\', '\r\n\t\x07\b']]);
});
