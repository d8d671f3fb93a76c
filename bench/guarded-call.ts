/** (a) What the guard adds to a call, beside a middleware that only signs twice. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { createSpendGuard, memoryLedger } from '@agentguard-run/spend';
import { spendGuard } from '@agentguard-run/spend/ai-sdk';
import { generateText, wrapLanguageModel } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { median, perCall, range } from './measure.ts';
import { BENCH_POLICY, benchPrices } from './policy.ts';

function mockModel(): MockLanguageModelV4 {
  return new MockLanguageModelV4({
    provider: 'bench',
    modelId: 'bench/big',
    doGenerate: async () => ({
      content: [{ type: 'text', text: 'A short answer.' }],
      finishReason: { unified: 'stop', raw: 'stop' },
      usage: {
        inputTokens: { total: 12, noCache: 12, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 4, text: 4, reasoning: 0 },
      },
      warnings: [],
    }),
  });
}

export async function guardedCallOverhead(): Promise<string[]> {
  benchPrices();
  const { privateKey } = generateKeyPairSync('ed25519');
  const message = Buffer.alloc(900, 'x');
  const bare = mockModel();
  const signing = wrapLanguageModel({
    model: mockModel(),
    middleware: {
      specificationVersion: 'v4',
      wrapGenerate: async ({ doGenerate }) => {
        sign(null, message, privateKey);
        const result = await doGenerate();
        sign(null, message, privateKey);
        return result;
      },
    },
  });
  // A new ledger for each round, so that no round pays for the memory of those before it.
  const guarded = (): ReturnType<typeof wrapLanguageModel> => {
    const guard = createSpendGuard({ policy: BENCH_POLICY, ledger: memoryLedger() });
    return wrapLanguageModel({ model: mockModel(), middleware: spendGuard(guard) });
  };
  const call = (model: Parameters<typeof generateText>[0]['model']) => () =>
    generateText({ model, prompt: 'Review this change for security issues.', maxOutputTokens: 256 });
  const rounds = 15;
  const calls = 1500;
  const times = { bare: [] as number[], signing: [] as number[], guarded: [] as number[] };
  for (const model of [bare, signing, guarded()]) await perCall(2 * calls, call(model));
  for (let round = 0; round < rounds; round++) {
    times.bare.push(await perCall(calls, call(bare)));
    times.signing.push(await perCall(calls, call(signing)));
    times.guarded.push(await perCall(calls, call(guarded())));
  }
  const ratios = times.guarded.map((time, round) => time / times.signing[round]!);
  return [
    '(a) generateText on a mock model, memory ledger, 3 caps, two receipts a call',
    `    bare ${median(times.bare).toFixed(0)} µs · two signatures ${median(times.signing).toFixed(0)} µs · guarded ${median(times.guarded).toFixed(0)} µs`,
    `    guarded / two signatures: ${median(ratios).toFixed(2)} (${range(ratios)} over ${rounds} rounds of ${calls}); aim ≤ 1.40`,
  ];
}
