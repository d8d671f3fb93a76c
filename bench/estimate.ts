/** (f) Estimating prompts: never more than linear, beside counting bytes and an exact tokenizer. */
import { createSpendGuard, memoryLedger } from '@agentguard-run/spend';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { median, range } from './measure.ts';
import { BENCH_POLICY, benchPrices } from './policy.ts';

const MEGABYTE = 1_000_000;
/** An exact tokenizer takes seconds for one long word of this length, and four times as long for twice of it. */
const WORD_FOR_BPE = 50_000;
const TEXT_FOR_BPE = 100_000;

function repeated(text: string, length: number): string {
  return text.repeat(Math.ceil(length / text.length)).slice(0, length);
}

const TEXTS: readonly [name: string, text: string][] = [
  ['one letter', repeated('a', MEGABYTE)],
  ['spaces', repeated(' ', MEGABYTE)],
  [
    'English',
    repeated('Review this change for security issues, and say what each of them would cost us. ', MEGABYTE),
  ],
  [
    'TypeScript',
    repeated('export const spent = balances.reduce((sum, { held }) => sum + held, 0n); // nano\n', MEGABYTE),
  ],
  [
    'JSON',
    repeated('{"customerId":"cus_8Yx2","limit":20,"tags":["open","paid"],"total":1234.56},', MEGABYTE),
  ],
  [
    'Chinese',
    repeated('企业需要控制大型语言模型的使用成本，并且确保每一次调用都有完整的审计记录。', MEGABYTE),
  ],
  [
    'base64',
    Buffer.from(Array.from({ length: 750_000 }, (_, i) => (i * i * 31 + i) % 251)).toString('base64'),
  ],
];

function milliseconds(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

export async function estimates(): Promise<string[]> {
  benchPrices();
  const { boundInputTokens } = await import('../dist/src/estimate.js');
  const bound = (text: string, mode: 'fast' | 'strict'): number =>
    milliseconds(() => boundInputTokens({ texts: [text], messages: 1 }, { mode, model: 'bench/big' }));
  const lines = [
    '(f) the bound of a prompt of a million characters (fast · strict), beside Buffer.byteLength',
  ];
  for (const [name, text] of TEXTS) {
    // the very first is what a process meets that has just started
    const first = bound(text, 'fast');
    const fast = Array.from({ length: 7 }, () => bound(text, 'fast'));
    const strict = Array.from({ length: 7 }, () => bound(text, 'strict'));
    const bytes = Array.from({ length: 7 }, () => milliseconds(() => Buffer.byteLength(text)));
    const aim = name === 'one letter' ? '; aim < 100 ms' : '';
    lines.push(
      `    ${name.padEnd(11)} first ${first.toFixed(1)} ms · ${median(fast).toFixed(1)} (${range(fast)}) · strict ` +
        `${median(strict).toFixed(1)} ms · byteLength ${median(bytes).toFixed(2)} ms (${(median(fast) / median(bytes)).toFixed(0)} ×)${aim}`,
    );
  }
  const word = repeated('a', WORD_FOR_BPE);
  const exactWord = milliseconds(() => encode(word));
  const ourWord = median(Array.from({ length: 15 }, () => bound(word, 'fast')));
  lines.push(
    `    50,000 times one letter: exact o200k ${exactWord.toFixed(0)} ms, fast ${ourWord.toFixed(2)} ms: ` +
      `${(exactWord / ourWord).toFixed(0)} × faster`,
  );
  const prose = repeated(TEXTS[2]?.[1] ?? '', TEXT_FOR_BPE);
  const [exact, ours] = [() => milliseconds(() => encode(prose)), () => bound(prose, 'fast')].map((run) =>
    median(Array.from({ length: 9 }, run)),
  ) as [number, number];
  lines.push(
    `    100,000 characters of English, its words known from before: exact o200k ${exact.toFixed(1)} ms, fast ${ours.toFixed(2)} ms: ${(exact / ours).toFixed(1)} × faster`,
  );
  await using guard = createSpendGuard({ policy: BENCH_POLICY, ledger: memoryLedger() });
  const letters = TEXTS[0]?.[1] ?? '';
  const start = performance.now();
  const call = await guard
    .begin({ model: 'bench/big', prompt: { texts: [letters], messages: 1 }, maxOutputTokens: 1 })
    .catch(() => undefined);
  await call?.settle({ outcome: 'not_sent' });
  lines.push(`    guard.begin with a million times one letter: ${(performance.now() - start).toFixed(1)} ms`);
  return lines;
}
