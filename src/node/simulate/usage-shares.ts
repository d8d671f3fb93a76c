/** How much of their bounds the calls of a log used, for calls that were never made. */
import type { RequestFacts, Route } from '../../decide.ts';
import type { NanoUsd } from '../../money.ts';
import { costOf, type Price } from '../../pricing/price.ts';
import type { DecisionPayload, Payload, SettlementPayload } from '../../receipts/payloads.ts';

interface Share {
  input: number;
  inputBound: number;
  output: number;
  outputLimit: number;
}

interface Bounds {
  keys: readonly string[];
  input: number;
  output: number | undefined;
}

const ALL = '*';

function keysOf(task: string | undefined, model: string): string[] {
  return [JSON.stringify([task ?? null, model]), JSON.stringify([model]), ALL];
}

/** Takes in every receipt of a log once; afterwards it knows what a call mostly comes to. */
export class UsageShares {
  readonly #shares = new Map<string, Share>();
  readonly #open = new Map<string, Bounds>();

  add(payload: Payload): void {
    if (payload.type === 'decision') this.#decision(payload);
    else if (payload.type === 'settlement') this.#settlement(payload);
  }

  #decision({ call, decision, request, route, scope }: DecisionPayload): void {
    if (decision === 'block' || request.input_tokens === undefined || route === undefined) return;
    const limit = route.max_output_tokens;
    const output = limit === undefined ? undefined : limit * (request.choices ?? 1);
    this.#open.set(call, { keys: keysOf(scope.task, request.model), input: request.input_tokens, output });
  }

  #settlement({ call, usage }: SettlementPayload): void {
    const bounds = this.#open.get(call);
    this.#open.delete(call);
    if (bounds === undefined || usage === undefined) return;
    for (const key of bounds.keys) {
      let share = this.#shares.get(key);
      if (share === undefined)
        this.#shares.set(key, (share = { input: 0, inputBound: 0, output: 0, outputLimit: 0 }));
      share.input += Math.min(usage.input_tokens, bounds.input);
      share.inputBound += bounds.input;
      if (bounds.output === undefined) continue;
      share.output += Math.min(usage.output_tokens, bounds.output);
      share.outputLimit += bounds.output;
    }
  }

  /**
   * What a call that was never made would have cost: its bounds, times the part of them that calls of its task and
   * model used; else those of its model, else all calls. Its worst case where there were none.
   */
  estimate(
    request: RequestFacts,
    task: string | undefined,
    { route, price, hold }: { route: Route; price: Price | undefined; hold: NanoUsd },
  ): NanoUsd {
    if (request.fixedCost !== undefined) return request.fixedCost;
    if (price === undefined || !('tokens' in request.input)) return hold;
    const share = keysOf(task, request.model)
      .map((key) => this.#shares.get(key))
      .find((each) => each !== undefined && each.inputBound > 0 && each.outputLimit > 0);
    const limit = route.maxOutputTokens;
    if (share === undefined || limit === undefined) return hold;
    const cost = costOf(price, {
      inputTokens: Math.ceil((request.input.tokens * share.input) / share.inputBound),
      outputTokens: Math.ceil((limit * request.choices * share.output) / share.outputLimit),
    });
    return cost < hold ? cost : hold;
  }
}
