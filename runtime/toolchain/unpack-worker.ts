// `node unpack-worker.ts NAME`: unpacks one set of packages. server-packages.ts starts it under a lock;
// for use by hand there is unpack-servers.ts.
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { failureFile, packageSets, presentTree, serversFolder } from './server-packages.ts';
import { unpackSet } from './server-unpacking.ts';

const set = packageSets.find(({ name }) => name === process.argv[2]);
if (set === undefined) throw new Error(`${process.argv[2]} is no set of packages`);
try {
  chmodSync(serversFolder(), 0o755);
  // Another run may have been faster while this one waited for the lock.
  if (presentTree(set) === null) unpackSet(set);
  rmSync(failureFile(set), { force: true });
} catch (error) {
  writeFileSync(failureFile(set), error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
