import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { findBrowser } from './find-browser.ts';

/** Beside those that Playwright sets: no sandbox for root, and nothing that the program asks of the network. */
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface TestBrowser {
  browser: Browser;
  /** Its home, which every process of it names in its environment. */
  folder: string;
  /** Ends the program and removes what it wrote. */
  close: () => Promise<void>;
}

/**
 * A headless Chromium with an empty profile and a home of its own. It ends with `close`, and with its
 * parent where that dies: it is led through a pipe. Rejects where there is none, with the reason.
 */
export async function startBrowser(): Promise<TestBrowser> {
  const found = findBrowser();
  if (found.kind === 'missing') throw new Error(found.reason);
  const folder = mkdtempSync(join(tmpdir(), 'emp-browser-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const browser = await chromium.launch({
      executablePath: found.path,
      args: flags,
      headless: true,
      // Fonts, certificates and crash reports otherwise go to the home of who runs the tests.
      env: {
        ...definedOf(process.env),
        HOME: folder,
        TMPDIR: folder,
        XDG_CONFIG_HOME: folder,
        XDG_CACHE_HOME: folder,
      },
    });
    const close = async () => {
      await browser.close();
      remove();
    };
    return { browser, folder, close };
  } catch (error) {
    remove();
    throw error;
  }
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}
