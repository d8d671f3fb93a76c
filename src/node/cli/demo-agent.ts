/** The demo's agent: a code reviewer with tools, its policy, and what a simulated model says to it. */
import type * as OpenRouter from '@openrouter/ai-sdk-provider';
import type * as Ai from 'ai';
import type { SpendPolicy } from '../../policy.ts';
import type { SpendGuard } from '../../guard.ts';
import { isBlocked } from '../../errors.ts';
import type { Reply, SimulatedRequest } from '../simulator/index.ts';
import { CliError } from './output.ts';

export const ASKED_MODEL = 'anthropic/claude-opus-4-7';
export const CHEAPER_MODEL = 'anthropic/claude-haiku-4-5';

/** A review has this many steps at most; a model that goes on and on is stopped by its agent, too. */
const STEPS_PER_REVIEW = 8;
/** Reviews made at most: a live model may use so little that no cap is reached. */
const REVIEWS = 12;

/** The code-review policy of the quickstart, its dollars turned into demo cents. */
export function demoPolicy(now: Date): SpendPolicy {
  return {
    id: 'code-review-team-v1',
    name: 'Code review team',
    scope: { tenantId: 'acme', teamId: 'engineering' },
    caps: [
      {
        amountCents: 4,
        window: 'per_day',
        action: 'downgrade',
        downgradeTo: CHEAPER_MODEL,
        reason: 'over 4 cents a day, drop to haiku',
      },
      { amountCents: 7, window: 'per_day', action: 'block', reason: 'hard daily ceiling' },
      { amountCents: 7, window: 'per_minute', action: 'block', reason: 'runaway loop detection' },
    ],
    mode: 'enforce',
    version: 1,
    effectiveFrom: now.toISOString(),
    maxOutputTokens: 500,
  };
}

const FILES = ['src/billing/invoice.ts', 'src/billing/refund.ts'] as const;
const FUNCTIONS = ['open', 'settle'] as const;

/** A file of the pull request: long enough that reading it costs something. */
function fileText(path: string): string {
  const noun = /(\w+)\.ts$/.exec(path)?.[1] ?? 'file';
  const name = noun.charAt(0).toUpperCase() + noun.slice(1);
  const functions = FUNCTIONS.map(
    (verb, index) => `/** Step ${index + 1} in the life of the ${noun}. */
export async function ${verb}${name}(id: string, amountCents: number, store: Store): Promise<${name}> {
  const ${noun} = await store.find(id);
  if (${noun} === undefined) throw new Error('unknown ${noun} ' + id);
  const total = ${noun}.lines.reduce((sum, line) => sum + line.quantity * line.unitPrice, 0);
  if (total * 100 < amountCents) return ${noun};
  const next = { ...${noun}, total, ${verb}At: Date.now(), history: [...${noun}.history, '${verb}'] };
  await store.put(id, next);
  return next;
}
`,
  );
  return `import type { ${name}, Store } from './types.ts';\n\n${functions.join('\n')}`;
}

interface Comment {
  path: string;
  line: number;
  text: string;
}

/** Why the reviews ended. */
export interface AgentEnd {
  reviews: number;
  comments: number;
  /** The refusal that ended them, where one did. */
  blocked?: unknown;
}

export interface AgentOptions {
  guard: SpendGuard;
  apiKey: string;
  /** OpenRouter's address, where it isn't the real one. */
  baseURL?: string;
}

/** `ai` and its OpenRouter provider are optional peers, so they are looked for only here. */
async function frameworks(): Promise<{ ai: typeof Ai; openrouter: typeof OpenRouter }> {
  try {
    const [ai, openrouter] = await Promise.all([import('ai'), import('@openrouter/ai-sdk-provider')]);
    return { ai, openrouter };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new CliError(
      'The demo runs a real agent of the AI SDK, which is not installed here. Run: ' +
        'npm install ai @openrouter/ai-sdk-provider',
    );
  }
}

/** Throws `CliError` that says what to install when the frameworks are absent. */
export async function requireFrameworks(): Promise<void> {
  await frameworks();
}

/** Reviews one pull request after another until a cap stops it. Rejects with what isn't a refusal. */
export async function runAgent(options: AgentOptions): Promise<AgentEnd> {
  const { ai, openrouter } = await frameworks();
  const { spendGuard } = await import('../../../middleware/ai-sdk.ts');
  const provider = openrouter.createOpenRouter({
    apiKey: options.apiKey,
    ...(options.baseURL !== undefined && { baseURL: options.baseURL }),
  });
  const model = ai.wrapLanguageModel({
    model: provider(ASKED_MODEL),
    middleware: spendGuard(options.guard),
  });
  const comments: Comment[] = [];
  const tools = {
    listChangedFiles: ai.tool({
      description: 'Lists the files that the pull request changes.',
      inputSchema: ai.jsonSchema<Record<string, never>>({ type: 'object', properties: {} }),
      execute: () => Promise.resolve(FILES),
    }),
    readFile: ai.tool({
      description: 'Reads one file of the pull request.',
      inputSchema: ai.jsonSchema<{ path: string }>({
        type: 'object',
        properties: { path: { type: 'string' } },
        required: ['path'],
      }),
      execute: ({ path }) => Promise.resolve(fileText(path)),
    }),
    comment: ai.tool({
      description: 'Leaves a review comment on a line.',
      inputSchema: ai.jsonSchema<Comment>({
        type: 'object',
        properties: { path: { type: 'string' }, line: { type: 'integer' }, text: { type: 'string' } },
        required: ['path', 'line', 'text'],
      }),
      execute: (comment) => Promise.resolve(`noted, ${comments.push(comment)} so far`),
    }),
  };
  for (let review = 1; review <= REVIEWS; review++) {
    try {
      await ai.generateText({
        model,
        tools,
        stopWhen: ai.isStepCount(STEPS_PER_REVIEW),
        system: 'You review pull requests. List the files, read each with one call, comment, then sum up.',
        prompt: `Review pull request #${411 + review} for security issues.`,
      });
    } catch (error) {
      if (!isBlocked(error)) throw error;
      return { reviews: review - 1, comments: comments.length, blocked: error };
    }
  }
  return { reviews: REVIEWS, comments: comments.length };
}

const FINDINGS = [
  'Totals are sums of products of floats, and the check multiplies them by a hundred: a rounding error decides ' +
    'whether an amount passes. Keep cents as integers from the first line to the last.',
  'Nothing checks who asks. Any id that a caller guesses is read, changed and written back, so the owner of the ' +
    'record has to be compared with the session before it is touched.',
  'Two calls that run at once both read the same record, both find it open and both write it: the second write ' +
    'wins and the first is lost without a trace. Compare a version when writing, and retry.',
  'The id goes into the error text as it came. What a user typed ends up in logs and in answers, line breaks ' +
    'included; quote it, cut it, or leave it out.',
  'The history grows with each call and is copied each time. A record that is settled a few thousand times makes ' +
    'every later call slow, which is an easy way to take the service down.',
];

/** What the reviewer says in a step, of the length that such answers have. */
function thoughts(step: number): string {
  return FINDINGS.map((_, index) => FINDINGS[(index + step) % FINDINGS.length]).join(' ');
}

/** The simulated model's side of a review: looks at the files, reads them one by one, comments, sums up. */
export function reviewerScript({ messages }: SimulatedRequest): Reply {
  const results = messages.filter((message) => (message as { role?: unknown }).role === 'tool').length;
  const text = thoughts(results);
  if (results === 0) return { text, toolCalls: [{ name: 'listChangedFiles', arguments: {} }] };
  const path = FILES[results - 1];
  if (path !== undefined) return { text, toolCalls: [{ name: 'readFile', arguments: { path } }] };
  if (results > FILES.length + 1) return { text: `${text} I would not merge this yet.` };
  const remark: Comment = { path: FILES[0], line: 8, text: FINDINGS[0] as string };
  return { text, toolCalls: [{ name: 'comment', arguments: remark }] };
}
