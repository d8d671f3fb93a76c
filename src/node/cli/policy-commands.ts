/** The commands for policy files: `init`, `policy check`, `policy simulate`. */
import type { Command } from 'commander';
import type { InitOptions } from './init/init.ts';
import type { CheckOptions } from './policy/check.ts';
import type { SimulateOptions } from './policy/simulate.ts';

const INIT_HELP = `
Asks what it needs to know, unless --yes (or --json) says to take the options and
the defaults: preset code-review, tenant acme, UTC. A name that ends in .json is
written as JSON. A file that is there is never replaced without --force.

Presets: code-review, risk-analysis, payment-approval, chargeback-evidence,
agent-support, repo-scan, all. Their amounts are beginnings; edit them.

Exit codes: 0 written, 1 given up, 2 not written.

Examples:
  agentguard init
  agentguard init --yes --preset code-review,repo-scan --tenant acme --shadow
  agentguard init --yes --preset all --file policies/acme.yaml`;

const CHECK_HELP = `
Reads YAML or JSON, says in plain sentences what each cap and rule does, and warns
of what is most likely a mistake. Prices are those that guards on this machine use.

Exit codes: 0 fine (also with warnings), 1 the file has errors, or with --strict
warnings, 2 the file could not be read.

Examples:
  agentguard policy check policies.yaml
  agentguard policy check policies.yaml --strict --json`;

const SIMULATE_HELP = `
Every call of the log is decided again, in its order and at its time, under the
policies of the file, on balances that begin at zero and follow from the new
decisions. What the log can't tell is said. The log is read, never written; its
signatures are not looked at ("agentguard verify" does).

Exit codes: 0 done, 1 the file has errors, 2 something could not be read.

Examples:
  agentguard policy simulate policies.yaml
  agentguard policy simulate new.yaml --log acme
  agentguard policy simulate new.yaml --log decisions.ndjson --json`;

/** Adds them to the program. */
export function addPolicyCommands(agentguard: Command): void {
  agentguard
    .command('init')
    .description('write a policy file to begin with, from presets')
    .option('--file <path>', 'the file to write (default: policies.yaml)')
    .option('--preset <name>', 'what the calls are for; repeatable, or a list with commas', collect)
    .option('--tenant <id>', 'the tenant that the policies are for')
    .option('--team <id>', 'the team that the policies are for (default: all teams)')
    .option('--time-zone <zone>', 'whose days, weeks and months count, e.g. Europe/Berlin')
    .option('--shadow', 'policies that only record what they would decide')
    .option('--yes', 'ask nothing')
    .option('--force', 'replace a file that is there')
    .option('--json', 'ask nothing, print one JSON document')
    .addHelpText('after', INIT_HELP)
    .action(async (options: InitOptions) => {
      const { initCommand } = await import('./init/init.ts');
      process.exitCode = await initCommand(options);
    });
  const policy = agentguard.command('policy').description('check a policy file, or try it on past calls');
  policy
    .command('check')
    .description('say what a policy file does, and what is wrong with it')
    .argument('<file>', 'a policy file, YAML or JSON, or - for standard input')
    .option('--strict', 'end with 1 when there are warnings')
    .option('--json', 'print one JSON document')
    .addHelpText('after', CHECK_HELP)
    .action(async (file: string, options: CheckOptions) => {
      const { checkCommand } = await import('./policy/check.ts');
      process.exitCode = checkCommand(file, options);
    });
  policy
    .command('simulate')
    .description('decide the calls of a log again, under other policies')
    .argument('<file>', 'a policy file, YAML or JSON, or - for standard input')
    .option('--log <path>', 'a log file, its folder, or a tenant (default: the only tenant of the home)')
    .option('--json', 'print one JSON document')
    .addHelpText('after', SIMULATE_HELP)
    .action(async (file: string, options: SimulateOptions) => {
      const { simulateCommand } = await import('./policy/simulate.ts');
      process.exitCode = await simulateCommand(file, options);
    });
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
