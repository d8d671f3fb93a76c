import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const sources = {
  resolve: { conditions: ['agentguard-source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['agentguard-source', 'node', 'import', 'default'] } },
};

export default defineConfig({
  test: {
    // The default leaves a core idle, which is half of a small machine.
    maxWorkers: '100%',
    projects: [
      {
        ...sources,
        test: {
          name: 'node',
          environment: 'node',
          // whoever has synced prices at home runs the tests without them
          env: { AGENTGUARD_HOME: join(tmpdir(), 'agentguard-tests-without-a-home') },
          include: ['test/**/*.test.ts'],
          exclude: ['test/edge/**', '**/node_modules/**'],
          // A limit for what hangs, not for what is slow: a busy machine takes many times as long.
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        resolve: { conditions: ['agentguard-source', 'edge-light', 'import', 'default'] },
        ssr: {
          resolve: { conditions: ['agentguard-source', 'edge-light', 'import', 'default'] },
          noExternal: true,
        },
        test: { name: 'edge', environment: 'edge-runtime', include: ['test/edge/**/*.test.ts'] },
      },
    ],
  },
});
