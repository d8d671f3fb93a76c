/** `agentguard verify --link`: the verdict on a share link. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { equalBytes, toBase64 } from '../../receipts/base64.ts';
import { parseKeyCertificate } from '../../receipts/key-certificate.ts';
import { thumbprint } from '../../receipts/keys.ts';
import { judgeShare, readShareLink, type OpenedLink, type ShareVerdict } from '../../receipts/share-link.ts';
import type { Trust } from '../../receipts/verify.ts';
import { homeDirectory, KEY_FILE } from '../home.ts';
import { lastSeen, remember } from '../trust-file.ts';
import { keysOfPin, ownKeys, readText, rootKey } from './locate.ts';
import { commandText, countText, labelled, printable, styled, timeText } from './output.ts';
import { CallTrace, traceTitle } from './trace.ts';
import type { VerifyOptions } from './verify.ts';

const EXIT_CODES = { valid: 0, invalid: 1, undecidable: 2 } as const;
const STYLES = { valid: 'green', invalid: 'red', undecidable: 'yellow' } as const;
const LABEL = 14;

/** Prints the verdict and returns the exit code: 0 valid, 1 invalid, 2 undecidable. `-` reads the link from a pipe. */
export async function verifyLinkCommand(link: string, options: VerifyOptions): Promise<number> {
  const opened = await readShareLink(link === '-' ? readFileSync(0, 'utf8') : link);
  const { trust, isPinned } = trustFor(opened, options);
  const verdict: ShareVerdict =
    'problem' in opened
      ? { verdict: 'invalid', cause: opened.problem, receipts: [] }
      : againstMemory(judgeShare(opened, trust), opened, options.trust);
  const code = EXIT_CODES[verdict.verdict];
  if (options.json === true) {
    const { receipts, verdict: integrity, ...rest } = verdict;
    const report = {
      exitCode: code,
      integrity,
      ...rest,
      ...(!('problem' in opened) && { root: toBase64(opened.checkpoint.root) }),
      key: { source: isPinned ? 'pinned' : 'installation', thumbprints: trust.keys.map(thumbprint) },
      receipts: receipts.map(({ hash, payload }) => ({ hash, payload })),
    };
    process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
    return code;
  }
  process.stdout.write(`${report(verdict, trust, isPinned).join('\n')}\n`);
  return code;
}

function trustFor(
  opened: Awaited<ReturnType<typeof readShareLink>>,
  { key: pins = [], root = [], certificate = [], logId }: VerifyOptions,
): { trust: Trust; isPinned: boolean } {
  const shown = 'problem' in opened ? [] : opened.shownKeys;
  const isPinned = pins.length > 0 || root.length > 0;
  const keys = isPinned
    ? pins.flatMap((pin) => keysOfPin(pin, shown))
    : ownKeys(join(homeDirectory(), KEY_FILE));
  const roots = root.map(rootKey);
  const certificates = certificate.map((path) => parseKeyCertificate(readText(path, '--certificate')));
  return { trust: { keys, roots, certificates, ...(logId !== undefined && { log: logId }) }, isPinned };
}

/** Two checkpoints of one size that are both signed and differ are evidence against whoever signed them. */
function againstMemory(
  verdict: ShareVerdict,
  { checkpoint }: OpenedLink,
  file: string | undefined,
): ShareVerdict {
  if (file === undefined || verdict.verdict !== 'valid') return verdict;
  const seen = lastSeen(file, checkpoint.log);
  if (seen?.size === checkpoint.size && !equalBytes(seen.root, checkpoint.root)) {
    const cause = `another checkpoint of ${checkpoint.size} lines, seen before, has another root: the log was rewritten`;
    return { ...verdict, verdict: 'invalid', cause, receipts: [] };
  }
  remember(file, checkpoint);
  return verdict;
}

function report(
  { verdict, cause, log, size, receipts }: ShareVerdict,
  trust: Trust,
  isPinned: boolean,
): string[] {
  const row = (label: string, text: string): string => labelled(label, text, LABEL);
  const words =
    verdict === 'valid'
      ? `valid: ${receipts.length === 1 ? 'the receipt is' : 'the receipts are'} signed, and in the log`
      : `${verdict}: ${printable(cause ?? '')}`;
  const lines = [styled('bold', 'share link'), labelled('integrity', words, LABEL, STYLES[verdict])];
  if (log === undefined || size === undefined) return lines;
  if (verdict === 'valid') {
    lines.push(row('completeness', 'not claimed: a link says nothing of the other receipts'));
    const numbers = receipts.map(
      ({ payload: { seq, type, issued_at } }) => `#${seq} ${type}, ${timeText(issued_at)}`,
    );
    lines.push(...numbers.map((text, index) => row(index === 0 ? 'receipts' : '', text)));
    lines.push(row('checkpoint', `of the first ${countText(size, 'line')}`));
  }
  lines.push(row('log id', log), ...keyLines(trust, isPinned));
  return verdict === 'valid' ? [...lines, ...told(receipts)] : lines;
}

function keyLines({ keys, roots = [] }: Trust, isPinned: boolean): string[] {
  const [first = 'none is known here', ...others] = [...keys, ...roots].map(thumbprint);
  const row = (label: string, text: string): string => labelled(label, text, LABEL);
  const whose = isPinned
    ? []
    : [
        row('', 'this machine’s own; pin the key that you were told:'),
        `  ${commandText('verify', '--link', '<link>', '--key', '<thumbprint>')}`,
      ];
  return [row('key', first), ...others.map((other) => row('', other)), ...whose];
}

/** The call in words, as far as the link shows it. */
function told(receipts: ShareVerdict['receipts']): string[] {
  const trace = new CallTrace('latest');
  for (const receipt of receipts) trace.add(receipt);
  if (trace.call === undefined) return [];
  // Whether a call was settled only the log knows.
  const lines = trace.lines().filter((line) => !line.includes('not settled in this log'));
  return ['', traceTitle(trace, trace.call), ...lines];
}
