/** Tells what was decided, and warns of what is worth a word once. */
import type { DecideInput, Decision } from './decide.ts';
import type { SpendEvent } from './events.ts';
import type { Receipt } from './receipts/payloads.ts';

export class Teller {
  readonly #tell: (event: SpendEvent) => void;
  readonly #warned = new Set<string>();

  constructor(tell: (event: SpendEvent) => void) {
    this.#tell = tell;
  }

  decided(id: string, input: DecideInput, decision: Decision, receipt: Receipt): void {
    const tell = this.#tell;
    const { route } = decision;
    tell({
      type: 'decision',
      callId: id,
      decision: decision.decision,
      reason: decision.reason,
      scope: input.scope,
      requestedModel: input.request.model,
      ...(route && { model: route.model }),
      hold: decision.hold,
      receipt,
    });
    if (decision.shadow !== undefined) {
      const { decision: would, reason } = decision.shadow;
      tell({
        type: 'warning',
        code: 'shadow',
        message: `${input.request.model}: shadow policies say ${would} (${reason})`,
      });
    }
    if (decision.decision === 'downgrade' && route !== undefined) this.#warnOfFeatures(route.model, input);
    if (route?.limit === 'injected' && !this.#warned.has('limit')) {
      this.#warned.add('limit');
      const message = `calls without an output limit get ${route.maxOutputTokens} tokens; set policy.maxOutputTokens`;
      tell({ type: 'warning', code: 'limit_injected', message });
    }
  }

  /** A model whose abilities nobody listed is taken on the word of whoever named it. */
  #warnOfFeatures(model: string, { request, prices }: DecideInput): void {
    if (request.features === undefined || prices.get(model)?.row.features !== undefined) return;
    if (this.#warned.has(model)) return;
    this.#warned.add(model);
    const message = `${model}: nobody knows whether it can do ${request.features.join(', ')}; taken all the same`;
    this.#tell({ type: 'warning', code: 'features_unknown', message });
  }
}
