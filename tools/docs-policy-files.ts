/**
 * Writes the sessions in docs/policy-files.md by running their commands: `npm exec node tools/docs-policy-files.ts`. A
 * test runs them, too, and holds the page against what they print.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { guardWith } from '../src/guard.ts';
import { fileLedger } from '../src/node/file-ledger/index.ts';

const PAGE = new URL('../docs/policy-files.md', import.meta.url);
const MAIN = fileURLToPath(new URL('../src/node/cli/main.ts', import.meta.url));

/** The day of the sessions. */
const TODAY = '2026-11-25';

const WITH_ERRORS = `id: code-review
scope: { team: engineering }
version: "2"
effectiveFrom: 2026-12-01T00:00:00
caps:
  - amountUsd: 50
    window: daily
    action: block
rules:
  - models: *-mini
`;

const WITH_ERRORS_FIXED_STAR = WITH_ERRORS.replace('*-mini', '"*-mini"');

const WITH_WARNINGS = `id: code-review
scope: { tenantId: acme, task: code-review }
version: 2
effectiveFrom: 2026-01-01
caps:
  - amountCents: 20000 # soft
    window: per_day
    action: downgrade
    downgradeTo: anthropic/claude-opus-4-7
  - amountCents: 5000 # hard
    window: per_day
    action: block
rules:
  - models: [anthropic/claude-sonnet-4-6, anthropic/claude-opus-4-7]
  - when: { task: risk-analysis }
    routeTo: openai/gpt-5.0
`;

type Session = readonly (readonly string[])[];

const SESSIONS: Readonly<Record<string, Session>> = {
  init: [
    ['agentguard', 'init', '--yes', '--preset', 'code-review,risk-analysis', '--tenant', 'acme', '--shadow'],
    ['head', '-32', 'policies.yaml'],
  ],
  check: [['agentguard', 'policy', 'check', 'policies.yaml', '--strict']],
  errors: [
    ['agentguard', 'policy', 'check', 'typo.yaml'],
    ['agentguard', 'policy', 'check', 'errors.yaml'],
    ['agentguard', 'policy', 'check', 'nowhere.yaml'],
  ],
  warnings: [
    ['cat', 'warnings.yaml'],
    ['agentguard', 'policy', 'check', 'warnings.yaml', '--strict'],
  ],
  simulate: [['agentguard', 'policy', 'simulate', 'policies.yaml', '--log', 'decisions.ndjson']],
  mistakes: [
    ['agentguard', 'init', '--yes'],
    ['agentguard', 'init', '--yes', '--preset', 'code', '--file', 'new.yaml'],
    ['agentguard', 'policy', 'simulate', 'errors.yaml', '--log', 'decisions.ndjson'],
    ['agentguard', 'policy', 'simulate', 'policies.yaml', '--log', 'warnings.yaml'],
    ['agentguard', 'policy', 'check', 'nowhere.yaml', '--json'],
  ],
};

/** Random enough for a page, and the same every time. */
function dice(): (sides: number) => number {
  let seed = 20_261_125;
  return (sides) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor(seed / 65_536) % sides;
  };
}

/** A working day of three teams, under a policy that let nearly everything pass. */
async function writeDay(folder: string): Promise<void> {
  let now = Date.parse('2026-11-24T08:00:00Z');
  const clock = (): number => now;
  const dir = join(folder, '.agentguard', 'acme');
  const ledger = fileLedger({
    dir,
    keyFile: join(folder, 'key.json'),
    now: clock,
    durability: 'os',
    tenantId: 'acme',
  });
  const policy = {
    id: 'wide-open',
    scope: { tenantId: 'acme' },
    caps: [{ amountCents: 1_000_000, window: 'per_day', action: 'block' }],
    version: 1,
    effectiveFrom: '2026-01-01',
  } as const;
  const guard = guardWith({ policy, ledger, waitForHoldsMs: 0 }, { now: clock });
  const roll = dice();
  const teams = ['engineering', 'platform', 'risk'] as const;
  for (let count = 0; count < 900; count++) {
    now += 1000 * roll(70);
    const teamId = teams[roll(3)] ?? 'risk';
    const task = teamId === 'risk' ? 'risk-analysis' : 'code-review';
    const models =
      task === 'risk-analysis'
        ? ['openai/gpt-5']
        : ['anthropic/claude-opus-4-7', 'anthropic/claude-sonnet-4-6'];
    const inputTokens = 2000 + roll(30_000);
    const maxOutputTokens = task === 'risk-analysis' ? 16_000 : 4000;
    const request = {
      model: models[roll(models.length)] ?? '',
      inputTokens,
      maxOutputTokens,
      scope: { teamId, task },
    };
    const call = await guard.begin(request);
    now += 1000 * roll(20);
    const usage = {
      inputTokens: Math.floor(inputTokens * 0.85),
      outputTokens: Math.floor((maxOutputTokens * (30 + roll(70))) / 100),
    };
    await call.settle({ outcome: 'ok', usage });
  }
  await guard.close();
  writeFileSync(join(folder, 'decisions.ndjson'), readFileSync(join(dir, 'decisions.ndjson')));
}

function run(
  folder: string,
  [program = '', ...args]: readonly string[],
): Promise<{ output: string; code: number }> {
  const { PATH = '' } = process.env;
  const env = { PATH, AGENTGUARD_HOME: join(folder, 'home'), NO_COLOR: '1', COLUMNS: '80' };
  const isOurs = program === 'agentguard';
  // By this name, as it is when it is installed.
  const ours = ['--conditions=agentguard-source', join(folder, 'bin', 'agentguard'), ...args];
  return new Promise((resolve) => {
    execFile(
      isOurs ? process.execPath : program,
      isOurs ? ours : args,
      { cwd: folder, env },
      (error, stdout, stderr) => {
        resolve({ output: stdout + stderr, code: error === null ? 0 : Number(error.code) });
      },
    );
  });
}

/** The sessions, each as a block of the page. They build on each other, and run in order. */
export async function sessions(): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'agentguard-docs-'));
  try {
    mkdirSync(join(folder, 'bin'));
    symlinkSync(MAIN, join(folder, 'bin', 'agentguard'));
    writeFileSync(join(folder, 'typo.yaml'), WITH_ERRORS);
    writeFileSync(join(folder, 'errors.yaml'), WITH_ERRORS_FIXED_STAR);
    writeFileSync(join(folder, 'warnings.yaml'), WITH_WARNINGS);
    await writeDay(folder);
    const blocks: Record<string, string> = {};
    for (const [name, session] of Object.entries(SESSIONS)) {
      const shown: string[] = [];
      for (const command of session) {
        const { output, code } = await run(folder, command);
        const status = command[0] === 'agentguard' ? `$ echo $?\n${code}\n` : '';
        shown.push(`$ ${command.join(' ')}\n${output}${status}`);
      }
      blocks[name] = `\`\`\`console\n${settled(shown.join('\n'), folder)}\`\`\`\n`;
    }
    return blocks;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What differs from day to day, as it is for a reader. */
function settled(text: string, folder: string): string {
  const today = new Date().toISOString().slice(0, 10);
  return text.replaceAll(`effectiveFrom: ${today}`, `effectiveFrom: ${TODAY}`).replaceAll(`${folder}/`, '');
}

/** The page with these blocks in their places. Throws where a place is missing. */
export function pageWith(page: string, blocks: Readonly<Record<string, string>>): string {
  let text = page;
  for (const [name, block] of Object.entries(blocks)) {
    const place = new RegExp(`(<!-- ${name}: made by [^\\n]* -->\\n)[^]*?(<!-- end of ${name} -->)`);
    if (!place.test(text)) throw new Error(`docs/policy-files.md has no place for ${name}`);
    text = text.replace(place, (_all, start: string, end: string) => `${start}${block}${end}`);
  }
  return text;
}

export function policyFilesPage(): string {
  return readFileSync(PAGE, 'utf8');
}

if (import.meta.main) writeFileSync(PAGE, pageWith(policyFilesPage(), await sessions()));
