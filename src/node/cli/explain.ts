/** `agentguard explain`: one call in words, from its receipts. */
import { formatUsd, usdText } from '../../money.ts';
import type { AdjustmentPayload, DecisionPayload, SettlementPayload } from '../../receipts/payloads.ts';
import { DECIDED, OUTCOMES, SOURCES } from '../../receipts/words.ts';
import { failure, printable, screenWidth, styled, timeText, wrapped } from './output.ts';
import { askedText, capsOf, scopeText, traceTitle, whyText } from './trace.ts';
import type { CallTrace } from './trace.ts';
import { findingOf, type Finding } from './verify-report.ts';
import { givenLog, verifyFile, type VerifyOptions } from './verify.ts';

/**
 * Verifies the log, tells the call, and returns the exit code: that of `verify`, which is 2 for a call that isn't
 * there.
 */
export async function explainCommand(
  call: string,
  path: string | undefined,
  given: VerifyOptions,
): Promise<number> {
  const { options, file } = givenLog(path, { ...given, trace: call }, 'explain');
  try {
    const verified = await verifyFile(await file(), options);
    const finding = findingOf(verified, options);
    const trace = verified.audit.trace as CallTrace;
    if (options.json === true) print(JSON.stringify(storyJson(trace, finding), undefined, 2));
    else print(storyText(trace, finding, call).join('\n'));
    return finding.exitCode;
  } catch (error) {
    if (options.json !== true) throw error;
    const { message, exitCode } = failure(error);
    print(JSON.stringify({ exitCode, error: message }, undefined, 2));
    return exitCode;
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

type Ending = SettlementPayload | AdjustmentPayload;

function endingsOf(trace: CallTrace): Ending[] {
  return trace.receipts.flatMap(({ payload }) =>
    payload.type === 'settlement' || payload.type === 'adjustment' ? [payload] : [],
  );
}

/** What the log's verdict means for the story. */
function trustText({ integrity, line, cause = '' }: Finding): string {
  if (integrity === 'valid') return 'The log is valid: signed, linked and in order.';
  const where = line === undefined ? '' : ` at line ${line}`;
  return `The log is ${integrity}${where} (${printable(cause)}). What follows is from the receipts before that.`;
}

function storyText(trace: CallTrace, finding: Finding, wanted: string): string[] {
  const style = finding.integrity === 'valid' ? 'dim' : 'red';
  const trust = styled(style, wrapped(trustText(finding), 0));
  const { decision } = trace;
  if (decision === undefined) return [trust, finding.missing ?? ''];
  const story = sentences(trace, decision).map((sentence) => wrapped(sentence, 0, screenWidth()));
  return [traceTitle(trace, wanted), '', ...story, '', ...trace.lines(), '', trust];
}

/** The call as it would be told. */
function sentences(trace: CallTrace, decision: DecisionPayload): string[] {
  const isCharge = decision.request.fixed_cost !== undefined;
  const caps = capsOf(trace.policies);
  return [
    `On ${timeText(decision.issued_at)}, ${scopeText(decision)} asked for ${askedText(decision)}.`,
    `The ${isCharge ? 'charge' : 'call'} was ${DECIDED[decision.decision]}: ${whyText(decision, caps)}.`,
    ...routeSentence(decision, isCharge),
    ...endSentences(endingsOf(trace), decision),
  ];
}

function routeSentence({ route, request, hold }: DecisionPayload, isCharge: boolean): string[] {
  if (route === undefined || isCharge) return [];
  const asked = route.model === request.model ? 'as asked' : `instead of ${printable(request.model)}`;
  const held = formatUsd(BigInt(hold));
  return [`It went to ${printable(route.model)}, ${asked}, and ${held} was held for its worst case.`];
}

function endSentences(endings: readonly Ending[], { decision, request }: DecisionPayload): string[] {
  if (decision === 'block') return ['No request was sent, and nothing was spent.'];
  if (endings.length === 0)
    return ['It is not settled in this log: it is in flight, or its hold is still to expire.'];
  return endings.map((payload) => {
    const amount = formatUsd(BigInt(payload.cost.amount));
    if (payload.type === 'adjustment') {
      const change = formatUsd(BigInt(payload.change));
      return `Later it was settled after all, at ${amount}, a change of ${change} (${OUTCOMES[payload.outcome]}).`;
    }
    if (payload.outcome === 'expired')
      return `Nobody settled it before its lease ran out, so its full hold of ${amount} was spent.`;
    if (request.fixed_cost !== undefined) return `It cost ${amount}.`;
    return `It cost ${amount}, ${SOURCES[payload.cost.source]}; ${OUTCOMES[payload.outcome]}.`;
  });
}

function storyJson(trace: CallTrace, finding: Finding): Record<string, unknown> {
  const { integrity, line, cause, exitCode, missing } = finding;
  const verdict = {
    exitCode,
    integrity,
    ...(line !== undefined && { line }),
    ...(cause !== undefined && { cause }),
    ...(missing !== undefined && { error: missing }),
  };
  const { decision } = trace;
  if (decision === undefined) return verdict;
  const caps = capsOf(trace.policies);
  const model = decision.route?.model ?? decision.request.model;
  const row = trace.prices.find(([name]) => name === model)?.[1];
  const endings = endingsOf(trace);
  return {
    ...verdict,
    call: decision.call,
    summary: sentences(trace, decision).join(' '),
    when: decision.issued_at,
    who: decision.scope,
    asked: decision.request,
    decision: decision.decision,
    reason: decision.reason,
    why: whyText(decision, caps),
    ...(decision.shadow && { shadow: decision.shadow }),
    ...(decision.route && { route: decision.route }),
    policies: decision.policies.map((digest, index) => {
      const { id, version, mode } = trace.policies[index] ?? {};
      return { id, version, mode, digest };
    }),
    caps: caps.map(({ limit, window, action, reason }, index) => {
      const balance = decision.caps.find(([at]) => at === index);
      return {
        limit,
        window,
        action,
        ...(reason !== undefined && { reason }),
        ...(balance && { spent: usdText(BigInt(balance[1])), held: usdText(BigInt(balance[2])) }),
        decided: index === decision.decisive_cap,
      };
    }),
    ...(row && { price: row }),
    hold: usdText(BigInt(decision.hold)),
    ...costJson(endings),
    receipts: trace.receipts.map(({ payload: { seq, type, issued_at: at }, hash }) => ({
      seq,
      type,
      at,
      hash,
    })),
  };
}

/** What the call came to in the end, and how it got there. */
function costJson(endings: readonly Ending[]): Record<string, unknown> {
  const last = endings.at(-1);
  if (last === undefined) return {};
  return {
    cost: { currency: 'USD', amount: usdText(BigInt(last.cost.amount)), source: last.cost.source },
    endings: endings.map(({ type, outcome, cost, usage, served, provider_ref: reference, ...rest }) => ({
      type,
      outcome,
      cost,
      ...(usage && { usage }),
      ...(served && { served }),
      ...(reference !== undefined && { providerRef: reference }),
      ...('change' in rest && { change: usdText(BigInt(rest.change)) }),
    })),
  };
}
