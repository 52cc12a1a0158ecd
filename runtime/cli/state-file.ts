import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/**
 * How other commands find the hub of `emp dev`: a file with its URL in a folder that only this user
 * can write. A file whose process or hub is gone counts as none.
 */
interface DevState {
  url: string;
  pid: number;
}

const fileName = 'dev.json';

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

async function read(dir: string): Promise<DevState | null> {
  try {
    const state = JSON.parse(await readFile(join(dir, fileName), 'utf8')) as Partial<DevState> | null;
    return typeof state?.url === 'string' && typeof state.pid === 'number'
      ? { url: state.url, pid: state.pid }
      : null;
  } catch {
    // No file, or half of one: as if none were there.
    return null;
  }
}

/** URL of this user's running `emp dev`, or null. */
export async function findDevHub(env: NodeJS.ProcessEnv): Promise<string | null> {
  const dir = stateDir(env);
  const state = (await isOurs(dir)) ? await read(dir) : null;
  if (state === null || !URL.canParse(state.url) || !isAlive(state.pid)) return null;
  const url = new URL(state.url);
  const isLoopback = url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  return isLoopback && (await listens(url)) ? url.origin : null;
}

/** Writes the file; the newest `emp dev` is the one that other commands find. False where the folder is not ours. */
export async function writeDevHub(env: NodeJS.ProcessEnv, state: DevState): Promise<boolean> {
  const dir = stateDir(env);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (!(await isOurs(dir))) return false;
  const part = join(dir, `${fileName}.${state.pid}`);
  await writeFile(part, JSON.stringify(state), { mode: 0o600 });
  await rename(part, join(dir, fileName));
  return true;
}

/** Removes the file if it is this process's own. */
export async function clearDevHub(env: NodeJS.ProcessEnv, pid: number): Promise<void> {
  const dir = stateDir(env);
  if ((await read(dir))?.pid === pid) await rm(join(dir, fileName), { force: true });
}
