import { readFileSync } from 'node:fs';

/**
 * Loaded with `--import` before a process: from then on its wall clock is off by as many ms as the file
 * `CLOCK_SHIFT_FILE` says, read anew at each SIGUSR2. The monotonic clock is left alone, as it is where
 * an operator or a time server sets the time of a computer.
 */

let shiftMs = 0;

// biome-ignore lint/nursery/noJsRestrictedProperties: this is the system's clock, on its way to be shifted.
const trueNow = Date.now.bind(Date);
Object.defineProperty(Date, 'now', { value: () => trueNow() + shiftMs });

process.on('SIGUSR2', () => {
  shiftMs = Number(readFileSync(process.env['CLOCK_SHIFT_FILE'] ?? '', 'utf8'));
});
