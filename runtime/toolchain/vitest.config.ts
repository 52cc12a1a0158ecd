import { defineConfig } from 'vitest/config';
import { repositoryRoot } from './repository.ts';
import { repeats, tierFiles, tiers } from './tiers.ts';

export default defineConfig({
  root: repositoryRoot,
  // Beside the packages, where nothing else is written: the repository's root stays as it is.
  cacheDir: `${repositoryRoot}/node_modules/.cache/vite`,
  test: {
    projects: tiers.map((tier) => ({
      root: repositoryRoot,
      test: {
        name: tier.name,
        ...tierFiles(tier),
        testTimeout: tier.testTimeoutMs * (tier.serial ? repeats(process.env) : 1),
        hookTimeout: 60_000,
        ...(tier.servers ? { globalSetup: `${repositoryRoot}/runtime/toolchain/find-servers.ts` } : {}),
        ...(tier.serial ? { maxWorkers: 1, fileParallelism: false } : {}),
      },
    })),
  },
});
