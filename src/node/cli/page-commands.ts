/** The subcommand around the page, as the command line takes it. */
import type { Command } from 'commander';

const SERVE_HELP = `
Prints the address of the page, http://127.0.0.1:<port>/verify. The page takes
files and links in the browser and sends nothing, not even to this command.

Exit codes: 0 ended by a signal, 2 the port can't be used.

Examples:
  agentguard serve
  agentguard serve --port 8080
  agentguard share latest acme --base http://127.0.0.1:8080/verify`;

export function addPageCommands(agentguard: Command): void {
  agentguard
    .command('serve')
    .description('serve the page that verifies in a browser, to this machine alone')
    .option('--port <number>', 'at this port (default: any that is free)')
    .addHelpText('after', SERVE_HELP)
    .action(async (options: { port?: string }) => {
      const { serveCommand } = await import('./page.ts');
      process.exitCode = await serveCommand(options);
    });
}
