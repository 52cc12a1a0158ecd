// `node runtime/toolchain/unpack-servers.ts [NAME…]`: unpacks servers for tests, all of them unless
// named, and prints what it got.
import { rmSync } from 'node:fs';
import { failureFile, packageSets, unpackedServers } from './server-packages.ts';

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !packageSets.some((set) => set.name === name));
if (unknown.length > 0) {
  const known = packageSets.map((set) => set.name).join(', ');
  console.error(`${unknown.join(', ')} is no set of packages: name any of ${known}`);
  process.exit(2);
}
for (const set of packageSets.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  // Whoever asks by hand wants another try.
  rmSync(failureFile(set), { force: true });
  const unpacked = unpackedServers(set);
  if (unpacked.kind === 'unpacked') {
    const versions = unpacked.record.packages.map(({ name, version }) => `${name} ${version}`);
    console.log(`${set.name} in ${unpacked.bin}: ${versions.join(', ')}`);
  } else {
    console.error(`${set.name}: ${unpacked.reason}`);
    process.exitCode = 1;
  }
}
