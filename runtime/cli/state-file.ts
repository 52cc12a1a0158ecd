import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/**
 * How other commands find the hub of `emp dev`: a file with its URL in a folder that only this user
 * can write, one for each that runs, so that an older one is found again when a newer one ends. A file
 * whose process or hub is gone counts as none.
 */
interface DevState {
  url: string;
  pid: number;
}

/** As it is kept: of several the highest `order` is the newest. Times of files are too coarse for that. */
type KeptState = DevState & { order: number };

const fileOf = (pid: number) => `dev-${pid}.json`;
const isStateFile = (name: string) => /^dev-\d+\.json$/.test(name);

/** `EMP_STATE_DIR`, else the user's runtime folder, else one named after the user in the temp folder. */
export function stateDir(env: NodeJS.ProcessEnv): string {
  if (env['EMP_STATE_DIR']) return env['EMP_STATE_DIR'];
  if (env['XDG_RUNTIME_DIR']) return join(env['XDG_RUNTIME_DIR'], 'emp');
  return join(tmpdir(), `emp-${userInfo().uid}`);
}

/** In a shared temp folder anybody may have made the folder first: what others could write is not believed. */
async function isOurs(dir: string): Promise<boolean> {
  try {
    const info = await stat(dir);
    return info.isDirectory() && info.uid === userInfo().uid && (info.mode & 0o022) === 0;
  } catch {
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether something accepts connections there; loopback only, so an answer comes at once. */
function listens(url: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) });
    const done = (found: boolean) => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(500, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

async function read(path: string): Promise<KeptState | null> {
  try {
    const state = JSON.parse(await readFile(path, 'utf8')) as Partial<KeptState> | null;
    const { url, pid, order } = state ?? {};
    return typeof url === 'string' && typeof pid === 'number' && typeof order === 'number'
      ? { url, pid, order }
      : null;
  } catch {
    // No file, or half of one: as if none were there.
    return null;
  }
}

/** Those of processes that live, the newest first. */
async function liveStates(dir: string): Promise<KeptState[]> {
  const names = (await isOurs(dir)) ? (await readdir(dir)).filter(isStateFile) : [];
  const states = await Promise.all(names.map((name) => read(join(dir, name))));
  return states
    .filter((state): state is KeptState => state !== null && isAlive(state.pid))
    .sort((a, b) => b.order - a.order || b.pid - a.pid);
}

/** URL of this user's newest running `emp dev`, or null. */
export async function findDevHub(env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const state of await liveStates(stateDir(env))) {
    if (!URL.canParse(state.url)) continue;
    const url = new URL(state.url);
    const isLoopback = url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (isLoopback && (await listens(url))) return url.origin;
  }
  return null;
}

/** Writes the file of this `emp dev`, the newest now. False where the folder is not ours. */
export async function writeDevHub(env: NodeJS.ProcessEnv, state: DevState): Promise<boolean> {
  const dir = stateDir(env);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (!(await isOurs(dir))) return false;
  const others = await liveStates(dir);
  const part = join(dir, `${fileOf(state.pid)}.part`);
  const order = (others[0]?.order ?? 0) + 1;
  await writeFile(part, JSON.stringify({ ...state, order }), { mode: 0o600 });
  await rename(part, join(dir, fileOf(state.pid)));
  await forgetDead(dir);
  return true;
}

/** A process that was killed leaves its file. One that cannot be read may be half written, and stays. */
async function forgetDead(dir: string): Promise<void> {
  for (const name of (await readdir(dir)).filter(isStateFile)) {
    const state = await read(join(dir, name));
    if (state !== null && !isAlive(state.pid)) await rm(join(dir, name), { force: true });
  }
}

/** Removes the file of this process. */
export async function clearDevHub(env: NodeJS.ProcessEnv, pid: number): Promise<void> {
  await rm(join(stateDir(env), fileOf(pid)), { force: true });
}
