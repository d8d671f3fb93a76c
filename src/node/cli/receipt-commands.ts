/** The subcommands around checkpoints, share links and keys, as the command line takes them. */
import type { Command } from 'commander';
import type { CheckpointCommandOptions } from './checkpoint.ts';
import { requireNode } from './output.ts';
import type { KeysOptions } from './keys.ts';
import type { ShareCommandOptions } from './share.ts';

const PATH = 'a log file, its folder, or a tenant (default: the only tenant of the home)';

const KEY_FILE = 'the log’s key (default: beside the log, or in the home above it)';

const CHECKPOINT_HELP = `
A checkpoint says how many lines a log had, with a root over all of them, signed
with the log's own key. Keep it where the log's operator can't reach it: with it
"agentguard verify --checkpoint <file>" finds lines that were cut or rewritten.

Exit codes: 0 made, 2 the log can't be read, synced or signed for.

Examples:
  agentguard checkpoint acme > acme.checkpoint
  agentguard verify acme --checkpoint acme.checkpoint`;

const SHARE_HELP = `
The link holds the receipt in full, with the proof that it is in the log, and
nothing of the other receipts. Whoever has the link can read it: it names the
scope, the model and balances of the caps. It is never sent to the page's
server, but stays in histories and chats.

Exit codes: 0 made, 2 no such call, or no checkpoint could be made.

Examples:
  agentguard share latest acme
  agentguard share --seq 41 acme
  agentguard verify --link <link> --key <thumbprint>`;

const KEYS_HELP = `
The installation key signs the logs of a home. It lies in installation-key.json,
or in the variable AGENTGUARD_SIGNING_KEY (a seed as base64url, or a JWK).

Exit codes: 0 done, 1 some log could not be handed over, 2 not possible.

Examples:
  agentguard keys show
  agentguard keys export > jwks.json
  agentguard keys rotate
  agentguard keys certify --root root-key.json`;

/** Adds the commands. Returns them, those below others included. */
export function addReceiptCommands(agentguard: Command): void {
  agentguard
    .command('checkpoint')
    .description('sign a checkpoint of a log as it is now, and print it')
    .argument('[path]', PATH)
    .option('--key-file <file>', KEY_FILE)
    .option('--json', 'print one JSON document')
    .addHelpText('after', CHECKPOINT_HELP)
    .action(async (path: string | undefined, options: CheckpointCommandOptions) => {
      requireNode();
      const { checkpointCommand } = await import('./checkpoint.ts');
      process.exitCode = await checkpointCommand(path, options);
    });
  agentguard
    .command('share')
    .description('make a link that proves one receipt without showing others')
    .argument('[call]', '"latest" or a call id: its decision is shared')
    .argument('[path]', PATH)
    .option('--all', 'every receipt of the call')
    .option('--seq <number>', 'this receipt, in place of a call')
    .option('--base <url>', 'where the verifying page is')
    .option('--checkpoint <file>', 'prove against this checkpoint, not a new one')
    .option('--key-file <file>', KEY_FILE)
    .option('--json', 'print one JSON document')
    .addHelpText('after', SHARE_HELP)
    .action(async (call: string | undefined, path: string | undefined, options: ShareCommandOptions) => {
      requireNode();
      const { shareCommand } = await import('./share.ts');
      // With --seq there is no call, and the only argument is the log.
      const isNumbered = options.seq !== undefined && path === undefined;
      process.exitCode = await shareCommand(isNumbered ? undefined : call, isNumbered ? call : path, options);
    });
  addKeyCommands(agentguard);
}

function addKeyCommands(agentguard: Command): void {
  const keys = agentguard
    .command('keys')
    .description('make, show, rotate, publish and certify the keys that sign logs')
    .addHelpText('after', KEYS_HELP);
  const add = (name: string, description: string): Command =>
    keys
      .command(name)
      .description(description)
      .option('--file <file>', 'the key file (default: installation-key.json of the home)')
      .option('--json', 'print one JSON document');
  add('make', 'make a key where there is none').action(async (options: KeysOptions) => {
    process.exitCode = (await import('./keys.ts')).makeCommand(options);
  });
  add('show', 'what the key is, where it lies, and which came before').action(
    async (options: KeysOptions) => {
      process.exitCode = (await import('./keys.ts')).showCommand(options);
    },
  );
  add('thumbprint', 'the thumbprint that auditors pin').action(async (options: KeysOptions) => {
    process.exitCode = (await import('./keys.ts')).thumbprintCommand(options);
  });
  add('export', 'the public keys as a JWK Set').action(async (options: KeysOptions) => {
    process.exitCode = (await import('./keys.ts')).exportCommand(options);
  });
  add('rotate', 'make a new key, and hand every log of the home over to it')
    .option('--keep-old', 'keep the private half of the old key, for logs that lie elsewhere')
    .action(async (options: KeysOptions & { keepOld?: boolean }) => {
      requireNode();
      process.exitCode = await (await import('./keys.ts')).rotateCommand(options);
    });
  add('certify', 'have a root certify the key, for the logs that begin from now on')
    .requiredOption('--root <key>', 'the key file of the root; with --certificate its public key')
    .option('--certificate <file>', 'store this certificate, which the root has made elsewhere')
    .action(async (options: KeysOptions & { root: string; certificate?: string }) => {
      process.exitCode = (await import('./keys.ts')).certifyCommand(options);
    });
}
