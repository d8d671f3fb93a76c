#!/usr/bin/env node
/** The `agentguard` command. Each subcommand is loaded when it is asked for, so that starting stays fast. */
import { Command, CommanderError } from 'commander';
import { SDK } from '../../version.ts';
import type { BalancesOptions } from './balances.ts';
import type { ControlOptions, GrantOptions } from './control.ts';
import { failure, requireNode } from './output.ts';
import { addPolicyCommands } from './policy-commands.ts';
import { addReceiptCommands } from './receipt-commands.ts';
import type { ModelsOptions } from './models.ts';
import type { PageOptions } from './page.ts';
import { addPageCommands } from './page-commands.ts';
import type { VerifyOptions } from './verify.ts';

const EXAMPLES = `
Examples:
  agentguard demo                         an agent under a policy, offline
  agentguard init                         write a policy file to begin with
  agentguard policy check policies.yaml   what a policy file does, and its mistakes
  agentguard verify                       verdict on the only log of the home
  agentguard verify acme --replay         for tenant acme, every decision made again
  agentguard explain latest acme          its latest call in words
  agentguard clock acme                   log time against this machine's clock
  agentguard checkpoint acme              sign how long the log is, for others to keep
  agentguard share latest acme            a link that proves one receipt
  agentguard keys show                    the key that signs the logs
  agentguard models haiku                 what models cost
  agentguard balances user=alice          what is spent, held, granted and frozen
  agentguard freeze team=engineering      stop a scope at once; unfreeze lifts it
  agentguard grant code-review --cap 0 --usd 50 --for 2h   raise a cap for a while

Logs and keys lie in ~/.agentguard, or where AGENTGUARD_HOME says.
Exit codes: 0 fine, 1 a bad finding, 2 the command could not do its work.`;

const VERIFY_HELP = `
Without --key the log is held against this machine's own installation key.
An auditor pins the key and the log id, learnt by another way than the log, and
keeps a head: with --head the log is known to be whole up to there.

With --replay every decision is made again by the recorded policies and prices,
and every balance added up; the first line that doesn't follow is named. With
--reconcile the bill is held against the receipts by generation id; the columns
that are read are generation_id, cost_total and created_at. With --since, what
lies before is only checked for order and links, which the first signature
after it vouches for.

Exit codes: 0 valid, 1 invalid, 2 undecidable, not readable, or no such call.
1 as well where the replay goes wrong or the bill differs.

Examples:
  agentguard verify
  agentguard verify acme --replay --reconcile activity.csv
  cat decisions.ndjson | agentguard verify - --key <thumbprint>
  agentguard verify ~/.agentguard/acme --trace latest
  agentguard verify decisions.ndjson --key <thumbprint> --log-id <id> --json
  agentguard verify acme --head <seq>:<hash>
  agentguard verify acme --checkpoint acme.checkpoint
  agentguard verify --link <link> --key <thumbprint>
  agentguard verify --page verify.html`;

const EXPLAIN_HELP = `
The whole log is verified first: a story from a log that isn't valid says so.

Exit codes: as those of verify.

Examples:
  agentguard explain
  agentguard explain <call id> acme --json`;

const CLOCK_HELP = `
A log never goes back in time by itself. When its last receipt lies more than
5 minutes in this machine's future, calls are blocked (reason clock) until the
clock is corrected, or until --accept writes a signed receipt which says that
the log goes on at the present time.

Exit codes: 0 calls can be decided, 1 the log lies in the future,
2 not readable or not accepted.`;

const MODELS_HELP = `
Prices are USD per million tokens. They come from setCostOverride in your code, else
from the list that --sync-pricing fetched from OpenRouter, else from the catalogue
that this package was released with; "prices of" says which and of what day.

Exit codes: 0 fine, 1 nothing found, no price, or a list that was refused,
2 the list could not be fetched or written. A sync that fails changes nothing.

Examples:
  agentguard models haiku                        models with "haiku" in their id
  agentguard models --provider anthropic --all
  agentguard models compare openai/gpt-5 openai/gpt-5-mini 10000 1000
  agentguard models --sync-pricing               OpenRouter's prices of today`;

const DEMO_HELP = `
A tool-calling agent runs into a soft cap and a hard cap: on a simulator of
OpenRouter, or with --live on the real one (needs OPENROUTER_API_KEY, spends
real money, at most the hard cap of 7 cents).

Exit codes: 0 the ledger agrees with the bill and the log is valid,
1 it doesn't, 2 the demo could not run.`;

function program(): Command {
  const agentguard = new Command('agentguard')
    .description(
      'Spend control for LLM calls: run the demo, verify a log of signed receipts, look up prices.',
    )
    .version(SDK.slice(SDK.lastIndexOf('/') + 1))
    .addHelpText('after', EXAMPLES);
  agentguard
    .command('demo')
    .description('run an agent through allow, downgrade and block, and check the ledger against the bill')
    .option('--live', 'on the real OpenRouter, with OPENROUTER_API_KEY')
    .option('--json', 'print one JSON document')
    .option('--dir <folder>', 'where the log goes (default: a new folder under the temporary one)')
    .addHelpText('after', DEMO_HELP)
    .action(async (options: { live?: boolean; json?: boolean; dir?: string }) => {
      requireNode();
      const { demoCommand } = await import('./demo.ts');
      process.exitCode = await demoCommand(options);
    });
  addVerify(agentguard);
  addExplain(agentguard);
  agentguard
    .command('clock')
    .description('compare the time of a log with the clock of this machine')
    .argument('[path]', 'a log file, its folder, or a tenant (default: the only tenant of the home)')
    .option('--accept', 'let the log go on at the present time, with a signed receipt')
    .addHelpText('after', CLOCK_HELP)
    .action(async (path: string | undefined, options: { accept?: boolean }) => {
      requireNode();
      const { clockCommand } = await import('./clock.ts');
      process.exitCode = await clockCommand(path, options);
    });
  addReceiptCommands(agentguard);
  addPageCommands(agentguard);
  addModels(agentguard);
  addPolicyCommands(agentguard);
  addBalances(agentguard);
  addControl(agentguard);
  return withErrors(agentguard);
}

function addVerify(agentguard: Command): void {
  agentguard
    .command('verify')
    .description('verify every receipt of a log; changes nothing, also while the log is in use')
    .argument(
      '[path]',
      'a log file, its folder, a tenant, or - for standard input (default: the only tenant)',
    )
    .option('--trace <call>', 'show a call in words: "latest" or a call id')
    .option('--key <key>', 'pin an installation key: thumbprint, public key or JWK file; repeatable', collect)
    .option('--log-id <id>', 'pin the log, so that another one of the same key is refused')
    .option('--head <head>', 'a head that you kept, <hash> or <seq>:<hash>: it must be in the log')
    .option('--since <place>', 'check signatures and count from there on: a receipt number or an instant')
    .option('--replay', 'recompute every decision and every balance from the log alone')
    .option('--reconcile <file>', 'hold the receipts against OpenRouter’s activity export (CSV)')
    .option(
      '--checkpoint <file>',
      'a checkpoint that you kept: the log must bear it out; repeatable',
      collect,
    )
    .option(
      '--trust <file>',
      'remember the last checkpoint of each log in this file, and hold logs against it',
    )
    .option('--link <link>', 'a share link in place of a log; "-" reads it from a pipe')
    .option(
      '--root <key>',
      'pin a root that certifies the log’s key: public key or JWK file; repeatable',
      collect,
    )
    .option(
      '--certificate <file>',
      'a certificate by the root, where the log carries none; repeatable',
      collect,
    )
    .option('--json', 'print one JSON document')
    .option('--page [file]', 'print the page that verifies in a browser, or write it to a file')
    .option('--sha256', 'with --page: print the page’s digest in its place')
    .addHelpText('after', VERIFY_HELP)
    .action(async (path: string | undefined, options: VerifyOptions & Partial<PageOptions>) => {
      if (options.page !== undefined || options.sha256 === true) {
        const { pageCommand } = await import('./page.ts');
        process.exitCode = pageCommand({ ...options, page: options.page ?? true });
        return;
      }
      const { verifyCommand } = await import('./verify.ts');
      process.exitCode = await verifyCommand(path, options);
    });
}

function addExplain(agentguard: Command): void {
  agentguard
    .command('explain')
    .description('tell one call in words: who, what, why, and what it cost')
    .argument('[call]', '"latest" or a call id', 'latest')
    .argument(
      '[path]',
      'a log file, its folder, a tenant, or - for standard input (default: the only tenant)',
    )
    .option('--key <key>', 'pin an installation key: thumbprint, public key or JWK file; repeatable', collect)
    .option('--log-id <id>', 'pin the log, so that another one of the same key is refused')
    .option(
      '--root <key>',
      'pin a root that certifies the log’s key: public key or JWK file; repeatable',
      collect,
    )
    .option('--certificate <file>', 'a certificate by the root; repeatable', collect)
    .option('--json', 'print one JSON document')
    .addHelpText('after', EXPLAIN_HELP)
    .action(async (call: string, path: string | undefined, options: VerifyOptions) => {
      const { explainCommand } = await import('./explain.ts');
      process.exitCode = await explainCommand(call, path, options);
    });
}

function addModels(agentguard: Command): void {
  agentguard
    .command('models')
    .description('list, search and compare prices of models, or sync them from OpenRouter')
    .argument('[words...]', 'parts of an id; or "compare", models, and input and output tokens')
    .option('--sync-pricing', "fetch OpenRouter's list into prices.json of the home")
    .option('--url <url>', "with --sync-pricing: the API's base (default: https://openrouter.ai/api/v1)")
    .option('--timeout <seconds>', 'with --sync-pricing: how long to wait (default: 30)')
    .option('--force', 'with --sync-pricing: take a list that can hardly be right')
    .option('--provider <name>', 'only what this provider sells, e.g. openrouter, anthropic, aws')
    .option('--all', 'list more than 40 models')
    .option('--json', 'print one JSON document')
    .addHelpText('after', MODELS_HELP)
    .action(async (words: string[], options: ModelsOptions) => {
      const { modelsCommand } = await import('./models.ts');
      process.exitCode = await modelsCommand(words, options);
    });
}

const GRANT_HELP = `
The policy and its caps are those that the log has recorded. --usd comes on top of
the cap's amount until the grant ends; a later edit of the policy doesn't end it.

Exit codes: 0 granted, 2 there is no such cap, or the log could not be written.

Examples:
  agentguard grant code-review-v1 --cap 1 --usd 50 --for 2h --reason "release day"
  agentguard grant acme-team --cap 0 --usd 5 --until 2026-12-01T00:00:00Z --scope user=alice`;

const FREEZE_HELP = `
Scope: one or more of tenant= team= user= agent= taskId= task=, which a call must all
have; or "all", for every call of the log.

Exit codes: 0 done, 1 it was so already, 2 the log could not be written.

Examples:
  agentguard freeze team=engineering agent=reviewer --reason "runaway loop"
  agentguard unfreeze team=engineering agent=reviewer`;

const BALANCES_HELP = `
Shows every cap of the log's policies with what is spent and held now, what grants
add to it and until when, and every frozen scope. With a scope, the balances that
calls of it count on: caps that count by user or task need one. Writes nothing.

Exit codes: 0 shown, 2 the log could not be read.

Examples:
  agentguard balances
  agentguard balances team=engineering user=alice --log acme --json`;

function addBalances(agentguard: Command): void {
  agentguard
    .command('balances')
    .description('what is spent, held, granted and frozen')
    .argument('[scope...]', 'field=value, e.g. user=alice (default: all)')
    .option('--log <path>', 'a log file, its folder, or a tenant (default: as for grant)')
    .option('--json', 'print one JSON document')
    .addHelpText('after', BALANCES_HELP)
    .action(async (scope: string[], options: BalancesOptions) => {
      requireNode();
      const { balancesCommand } = await import('./balances.ts');
      process.exitCode = await balancesCommand(scope, options);
    });
}

/** The commands that change what is allowed, each by a signed receipt. */
function addControl(agentguard: Command): void {
  const shared = (command: Command): Command =>
    command
      .option(
        '--log <path>',
        'a log file, its folder, or a tenant (default: the tenant of the scope, or the only log)',
      )
      .option('--by <name>', 'who does it, for the receipt (default: your user name)')
      .option('--reason <text>', 'why, for the receipt')
      .option('--json', 'print one JSON document');
  shared(
    agentguard
      .command('grant')
      .description('raise one cap for a while, in every process, by a signed receipt')
      .argument('<policy>', 'id of the policy')
      .requiredOption('--cap <index>', 'position of the cap in the policy, from 0')
      .requiredOption('--usd <amount>', 'US dollars on top of the cap')
      .option('--for <duration>', 'how long, e.g. 30m, 2h, 1d')
      .option('--until <instant>', 'or until when, e.g. 2026-12-01T00:00:00Z')
      .option('--scope <field=value>', 'only for calls of this scope; repeatable', collect),
  )
    .addHelpText('after', GRANT_HELP)
    .action(async (policy: string, options: GrantOptions) => {
      requireNode();
      const { grantCommand } = await import('./control.ts');
      process.exitCode = await grantCommand(policy, options);
    });
  for (const name of ['freeze', 'unfreeze'] as const) {
    const isFreeze = name === 'freeze';
    shared(
      agentguard
        .command(name)
        .description(
          isFreeze
            ? 'stop every call of a scope at once, in every process, by a signed receipt'
            : 'let the calls of a frozen scope go on',
        )
        .argument('<scope...>', 'field=value, e.g. team=engineering; or "all"'),
    )
      .addHelpText('after', FREEZE_HELP)
      .action(async (scope: string[], options: ControlOptions) => {
        requireNode();
        const { freezeCommand } = await import('./control.ts');
        process.exitCode = await freezeCommand(scope, options, isFreeze);
      });
  }
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** Usage errors end with 2, like every other error that stops a command. */
function withErrors(command: Command): Command {
  const below = command.commands.flatMap((each) => [each, ...each.commands]);
  for (const each of [command, ...below]) {
    each.configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'agentguard: ')),
    });
    each.exitOverride().showHelpAfterError(`Run "${nameOf(each)} --help".`);
  }
  return command;
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

async function main(): Promise<void> {
  // `agentguard verify | head` closes the pipe before everything is written.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
  try {
    const agentguard = program();
    if (process.argv.length === 2) agentguard.outputHelp();
    else await agentguard.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has said what is wrong; it also ends --help and --version this way.
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    const { message, exitCode } = failure(error);
    process.stderr.write(`agentguard: ${message}\n`);
    process.exitCode = exitCode;
  }
}

await main();
