/**
 * Writes the presets of `agentguard init` to `examples/policies/`: `npm exec node tools/example-policies.ts`. The other
 * files there are written by hand.
 */
import { writeFileSync } from 'node:fs';
import { PRESET_NAMES, presetFile, type PresetName } from '../src/node/cli/init/presets.ts';

export const EXAMPLE_POLICIES: URL = new URL('../examples/policies/', import.meta.url);

/** A preset as `examples/policies/<name>.yaml` has it. */
export function examplePolicy(name: PresetName): string {
  const answers = {
    tenantId: 'acme',
    timeZone: 'UTC',
    effectiveFrom: '2026-01-01',
    mode: 'enforce',
  } as const;
  return presetFile([name], answers, { file: `${name}.yaml`, schema: '../../policy.schema.json' });
}

if (import.meta.main) {
  for (const name of PRESET_NAMES)
    writeFileSync(new URL(`${name}.yaml`, EXAMPLE_POLICIES), examplePolicy(name));
}
