// `node runtime/toolchain/unpack-servers.ts [NAME…]`: unpacks servers for tests, all of them unless
// named, and prints what it got. Tests start it themselves, under a lock, for what they miss.
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { failureFile, packageSets, presentTree, serversFolder } from './server-packages.ts';
import { unpackSet } from './server-unpacking.ts';

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !packageSets.some((set) => set.name === name));
if (unknown.length > 0) {
  const known = packageSets.map((set) => set.name).join(', ');
  console.error(`${unknown.join(', ')} is no set of packages: name any of ${known}`);
  process.exit(2);
}
for (const set of packageSets.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  try {
    // Another run may have been faster while this one waited for the lock.
    const { packages } = presentTree(set)?.record ?? unpackSet(set);
    rmSync(failureFile(set), { force: true });
    console.log(`${set.name}: ${packages.map(({ name, version }) => `${name} ${version}`).join(', ')}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    writeFileSync(failureFile(set), reason);
    console.error(`${set.name}: ${reason}`);
    process.exitCode = 1;
  }
}
chmodSync(serversFolder(), 0o755);
