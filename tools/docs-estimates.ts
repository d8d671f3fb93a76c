/** The estimator's error table of docs/estimates.md. */
import { boundInputTokens, estimateTextTokens, type EstimateOptions } from '../src/estimate.ts';
import { SAMPLES } from '../test/estimate-samples.ts';
import { VOCABULARIES } from './vocabularies.ts';

/** The bound of one text, without what stands around messages. */
export function textBound(text: string, options: EstimateOptions): number {
  const of = (texts: string[]): number => {
    const bound = boundInputTokens({ texts, messages: 0 }, options);
    if ('unbounded' in bound) throw new Error(bound.unbounded);
    return bound.tokens;
  };
  return of([text]) - of([]);
}

function percent(estimate: number, truth: number): string {
  const error = Math.round((estimate / truth - 1) * 100);
  return error > 0 ? `+${error}` : error < 0 ? `−${-error}` : '0';
}

/** A line for each kind of text: errors in percent, and how many times the truth the strict bound is. */
export function errorTable(): string {
  const heads = [
    'text',
    'bytes',
    'estimate / o200k',
    ...VOCABULARIES.map(({ name }) => `fast / ${name}`),
    'strict / largest',
  ];
  const lines = SAMPLES.map(([kind, text]) => {
    const truths = VOCABULARIES.map(({ count }) => count(text));
    const strict = textBound(text, { mode: 'strict' });
    return [
      kind,
      new TextEncoder().encode(text).length.toLocaleString('en-US'),
      percent(estimateTextTokens(text), truths[0] as number),
      ...VOCABULARIES.map(({ model }, index) => percent(textBound(text, { model }), truths[index] as number)),
      `${(strict / Math.max(...truths)).toFixed(1)} ×`,
    ];
  });
  const rows = [heads, ['---', ...heads.slice(1).map(() => '---:')], ...lines];
  return `${rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}
