import { existsSync, renameSync, rmSync } from 'node:fs';

/** Folders that are kept of one run, or of the logs of one cluster, beside the newest. */
export const asideLimit = 9;

const asideName = (folder: string, number: number) => `${folder}.before-${number}`;

/**
 * Makes room for a folder that is to be made anew: what lies there is kept as `<folder>.before-<n>`, the
 * oldest as 1. The last number is taken again and again, so that the first findings are never lost and
 * the disk is not filled.
 */
export function setAside(folder: string): void {
  if (!existsSync(folder)) return;
  let number = 1;
  while (number < asideLimit && existsSync(asideName(folder, number))) number += 1;
  const kept = asideName(folder, number);
  rmSync(kept, { recursive: true, force: true });
  renameSync(folder, kept);
}
