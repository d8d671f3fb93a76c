/** What an examination comes to, in words: what is proved, what isn't, and what to do next. */
import type { CheckpointFinding } from '../../receipts/checkpoint-check.ts';
import { thumbprint } from '../../receipts/keys.ts';
import type { LogVerdict } from '../../receipts/verdict.ts';
import type { ReplayVerdict } from '../../replay.ts';
import { isKeyless, type Pins } from './pins.ts';
import type { Examination } from './examine.ts';
import { countText } from './words.ts';

export type Mood = 'good' | 'bad' | 'open';

/** One of the verdict's fields. */
export interface Field {
  name: string;
  state: string;
  mood: Mood;
  text: string;
}

export interface Conclusion {
  integrity: LogVerdict['integrity'];
  /** 1-based; absent for what is wrong with no single line. */
  line?: number;
  cause?: string;
  mood: Mood;
  title: string;
  summary: string;
  fields: readonly Field[];
  next: readonly string[];
  /** The thumbprint to compare, where nothing is pinned. */
  compare?: string;
  /** What `agentguard verify` would end with: 0 fine, 1 a bad finding, 2 something that couldn't be decided. */
  exit: 0 | 1 | 2;
}

type Judged = Pick<Conclusion, 'integrity' | 'line' | 'cause'>;

export function conclude(examination: Examination, pins: Pins): Conclusion {
  const { judged, completeness, isUnused } = judge(examination, pins);
  const exit = exitOf(judged, examination, isUnused);
  const fields = [
    integrityField(examination, judged),
    completeness,
    replayField(examination.replay, examination, judged),
    BILL,
  ];
  return {
    ...judged,
    mood: (['good', 'bad', 'open'] as const)[exit],
    exit,
    fields,
    ...words(examination, { judged, completeness, isUnused }, pins),
    ...(isKeyless(pins) && examination.shownKey !== undefined && { compare: examination.shownKey }),
  };
}

const BILL: Field = {
  name: 'Provider’s bill',
  state: 'not compared',
  mood: 'open',
  text: 'This page doesn’t compare the receipts with the provider’s bill, and only the bill shows calls that left no receipt: agentguard verify --reconcile activity.csv.',
};

/** What is known to be wrong outweighs what is not known. */
function exitOf({ integrity }: Judged, { replay, underShownKey }: Examination, isUnused: boolean): 0 | 1 | 2 {
  const isReplayed = replay !== undefined && underShownKey === undefined;
  if (integrity === 'invalid' || (isReplayed && replay.replay === 'wrong')) return 1;
  if (integrity === 'undecidable' || (isReplayed && replay.replay === 'undecidable') || isUnused) return 2;
  return 0;
}

const MOODS = { valid: 'good', invalid: 'bad', undecidable: 'open' } as const;

interface Weighed {
  judged: Judged;
  completeness: Field;
  /** True when a checkpoint that was given could not be used. */
  isUnused: boolean;
}

/** The log's own verdict, with what checkpoints say to it. */
function judge({ verdict, checkpoints, underShownKey }: Examination, pins: Pins): Weighed {
  const { integrity, line, cause } = verdict;
  const own: Judged = {
    integrity,
    ...(line !== undefined && cause !== EMPTY && { line }),
    ...(cause !== undefined && { cause }),
  };
  const completeness = (state: string, mood: Mood, text: string): Field => ({
    name: 'Completeness',
    state,
    mood,
    text,
  });
  // Without a key checkpoints can't be relied on either.
  const findings = underShownKey === undefined ? checkpoints : [];
  const refuted = findings.find(({ status }) => status === 'refuted');
  const byHead = verdict.completeness;
  if (refuted?.status === 'refuted' || byHead.status === 'refuted') {
    const note =
      refuted?.status === 'refuted' ? refuted.cause : byHead.status === 'refuted' ? byHead.note : '';
    const judged: Judged =
      integrity === 'invalid' && line !== undefined ? own : { integrity: 'invalid', cause: note };
    return {
      judged,
      isUnused: false,
      completeness: completeness(
        'refuted',
        'bad',
        `${sentence(note)} What you kept is signed evidence of that.`,
      ),
    };
  }
  const open = findings.find(({ status }) => status === 'open');
  const isUnused = open !== undefined;
  const sizes = findings.map((finding) => (finding.status === 'proved' ? finding.size : 0));
  const size = Math.max(0, ...sizes);
  const upTo = Math.max(size - 1, byHead.status === 'proved' ? byHead.upTo : -1);
  if (upTo >= 0) {
    const by = size - 1 === upTo ? `the checkpoint of ${countText(size, 'line')}` : 'the head that you kept';
    const more = open?.status === 'open' ? ` Another checkpoint could not be used: ${open.cause}.` : '';
    return {
      judged: own,
      isUnused,
      completeness: completeness(
        `proved up to #${upTo}`,
        'good',
        `No line up to #${upTo} is missing or changed: ${by} fits. Beyond that, lines could have been cut from the end.${more}`,
      ),
    };
  }
  if (open?.status === 'open') {
    return {
      judged: own,
      isUnused,
      completeness: completeness('not proved', 'open', `Not proved: ${open.cause}.`),
    };
  }
  const held =
    pins.head === undefined ? '' : ' The head that you hold is not among the receipts that verified.';
  const why =
    pins.checkpoints.length > 0 && underShownKey !== undefined
      ? 'A checkpoint counts only once the key is pinned.'
      : `Lines cut from the end leave no trace in the log itself.${held} Give a checkpoint or head that was kept elsewhere.`;
  return { judged: own, isUnused, completeness: completeness('not proved', 'open', why) };
}

const EMPTY = 'the log is empty';
const CUT = 'the last line has no end';

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

function integrityField({ verdict, underShownKey, isLog }: Examination, judged: Judged): Field {
  const { integrity, line, cause = '' } = judged;
  const field = { name: 'Integrity', state: integrity as string, mood: MOODS[integrity] };
  if (integrity === 'valid') {
    const all = `Every line is in its one strict form, names the line before it by its hash, and is signed by a key that you pinned or that such a key admitted.`;
    return {
      ...field,
      text: `${countText(verdict.receipts, 'receipt')}, from the first line to the last. ${all}`,
    };
  }
  if (!isLog) return { ...field, text: 'No line of this file looks like a receipt.' };
  const where = line === undefined ? '' : `Line ${line.toLocaleString('en-US')}: `;
  const before =
    verdict.receipts > 0 && line !== undefined && underShownKey === undefined
      ? ` The ${countText(line - 1, 'line')} before it ${line === 2 ? 'stands' : 'stand'}; nothing behind it was looked at.`
      : '';
  return { ...field, text: `${where}${sentence(cause)}${before}${supposed(underShownKey)}` };
}

/** What is said when only the log itself vouches for its key. */
function supposed(verdict: LogVerdict | undefined): string {
  if (verdict === undefined) return '';
  if (verdict.integrity === 'valid') {
    return ` If that key is the right one, all ${countText(verdict.receipts, 'receipt')} fit together. A forger’s log would say the same of a forger’s key.`;
  }
  const where = verdict.line === undefined ? '' : ` at line ${verdict.line}`;
  return ` Even if that key is the right one, the log is ${verdict.integrity}${where}: ${verdict.cause ?? ''}.`;
}

function replayField(replay: ReplayVerdict | undefined, { verdict }: Examination, judged: Judged): Field {
  const name = 'Replay';
  if (replay === undefined) {
    return {
      name,
      state: 'not asked for',
      mood: 'open',
      text: 'Decisions and balances were not recomputed.',
    };
  }
  if (verdict.receipts === 0) {
    const text =
      judged.integrity === 'undecidable' && replay.decisions > 0
        ? `Counts only once the key is pinned. Under the key that the log shows, ${replay.problem === undefined ? `all ${countText(replay.decisions, 'decision')} follow` : `line ${replay.problem.line} does not follow: ${replay.problem.cause}`}.`
        : 'There was nothing to recompute.';
    return { name, state: 'not decided', mood: replay.problem?.verdict === 'wrong' ? 'bad' : 'open', text };
  }
  const isWhole = judged.integrity === 'valid';
  const part = isWhole ? '' : ' in the part that verified';
  if (replay.problem !== undefined) {
    const { line, cause } = replay.problem;
    const mood = replay.replay === 'wrong' ? 'bad' : 'open';
    const text = `Line ${line.toLocaleString('en-US')}: ${sentence(cause)} The lines may be signed and in order all the same: the record is whole, and what it records is not what its policies lead to.`;
    return { name, state: replay.replay === 'wrong' ? 'does not follow' : 'undecidable', mood, text };
  }
  const open =
    replay.open.length === 0
      ? ''
      : ` ${countText(replay.open.length, 'call')} ${replay.open.length === 1 ? 'was' : 'were'} in flight at the end.`;
  return {
    name,
    state: isWhole ? 'follows' : 'follows, as far as it verified',
    mood: isWhole ? 'good' : 'open',
    text: `${countText(replay.decisions, 'decision')} and every balance${part} are what the recorded policies and prices lead to, to the nano-dollar.${open}`,
  };
}

type Words = Pick<Conclusion, 'title' | 'summary' | 'next'>;

function sound(
  { verdict, replay, trust }: Examination,
  { completeness, isUnused }: Weighed,
  pins: Pins,
): Words {
  const pinned = [...trust.keys, ...(trust.roots ?? [])].map(thumbprint);
  const noun = trust.keys.length === 0 ? 'root' : 'key';
  const whose = pinned.length === 1 ? `the ${noun}` : `the ${noun}s`;
  const but =
    replay?.replay === 'wrong'
      ? ', but a decision does not follow'
      : isUnused
        ? ', but a checkpoint of yours can’t be used'
        : replay?.replay === 'undecidable'
          ? ', but the replay is undecided'
          : '';
  const isProved = completeness.mood === 'good';
  const whole = isProved
    ? `Complete ${completeness.state.replace('proved ', '')}; completeness beyond that is not proved.`
    : 'Whether lines were cut from the end is not proved.';
  const named = pinned.length === 1 ? ` Key ${pinned[0]}.` : '';
  return {
    title: `Signatures valid under ${whose} you pinned${but}`,
    summary: `Log ${verdict.log}: ${countText(verdict.receipts, 'receipt')}, linked and in order. ${whole}${noun === 'key' ? named : ''}`,
    next: [
      ...(pins.log === undefined
        ? ['Pin the log id too, if you were told it: the same key may sign other logs.']
        : []),
      ...(isProved
        ? []
        : [
            'Ask for a checkpoint that was kept out of the operator’s reach, or keep the head below and give it here next time.',
          ]),
      'Compare the settlements with the provider’s own bill: a call made without the guard leaves no receipt.',
    ],
  };
}

function words(examination: Examination, weighed: Weighed, pins: Pins): Words {
  const { verdict, isLog } = examination;
  const { judged } = weighed;
  const { integrity, line, cause = '' } = judged;
  if (integrity === 'valid') return sound(examination, weighed, pins);
  const log = verdict.log === undefined ? '' : `Log ${verdict.log}: `;
  if (!isLog) {
    return {
      title: 'This is not an AgentGuard log',
      summary: 'No line of it looks like a receipt, so there is nothing to judge.',
      next: ['A log is usually called decisions.ndjson. Choose that file.'],
    };
  }
  if (integrity === 'undecidable') return undecided(examination, judged, pins);
  const at = line === undefined ? '' : ` at line ${line.toLocaleString('en-US')}`;
  return {
    title: `Invalid${at}`,
    summary: line === undefined ? sentence(cause) : `${log}${sentence(cause)}`,
    next: [
      'Ask for the file again, and compare: a copy can be damaged on its way, too.',
      ...(line === undefined
        ? ['Keep what you have: your checkpoint or head and this log, together, are evidence.']
        : [
            'The line is shown above. What stands before it is still signed and in order; what comes after it counts for nothing.',
          ]),
    ],
  };
}

function undecided({ verdict, underShownKey }: Examination, { line, cause = '' }: Judged, pins: Pins): Words {
  if (cause === EMPTY) {
    return {
      title: 'Undecided: the file is empty',
      summary: 'An empty log proves nothing, and is never valid.',
      next: ['If receipts were in it before, whoever kept a checkpoint can show that.'],
    };
  }
  if (cause === CUT) {
    return {
      title: 'Undecided: the last line is cut off',
      summary: `${countText(verdict.receipts, 'receipt')} before it are signed, linked and in order. A writer was at work when this was copied, or died; nobody was told that the last line counts.`,
      next: ['Copy the log again, and verify the new copy.'],
    };
  }
  if (isKeyless(pins)) {
    return {
      title: 'Undecided: you have not pinned a key',
      summary:
        underShownKey === undefined
          ? 'Nothing vouches for these signatures but the log itself.'
          : 'Nothing vouches for these signatures but the log itself, and whoever forges a log can forge that as well.',
      next: [
        'Get the key’s thumbprint from the operator by another way than this file: a contract, their web site, a phone call (agentguard keys show prints it).',
        'Compare it with the one above, letter by letter, or paste it into “Key”.',
      ],
    };
  }
  const at = line === undefined || line === 1 ? '' : ` from line ${line.toLocaleString('en-US')} on`;
  return {
    title: `Undecided${at}: signed by a key that is not pinned`,
    summary: `${sentence(cause)} You pinned ${pins.keys.slice(0, 3).join(', ') || 'a root, which has not certified it'}, and no pinned key has admitted it.`,
    next: [
      'Check the thumbprint that you pinned for a slip of the pen.',
      'Ask the operator whose key this is; pin it only if they tell you by another way than this file.',
    ],
  };
}

/** What no log can prove, whatever the verdict. */
export const NEVER_PROVED: readonly string[] = [
  'That every call is in the log. A call made without the guard leaves no receipt; only the provider’s bill shows it.',
  'That no line was cut from the end, beyond what a checkpoint or head covers that somebody else kept.',
  'When something happened. Times are the operator’s own clock.',
  'That a pinned key is the operator’s. That is as sure as the way by which you learnt it.',
];

/** What the findings are, for each checkpoint. */
export function checkpointText(finding: CheckpointFinding): string {
  if (finding.status === 'proved') return `of ${countText(finding.size, 'line')}: fits`;
  return `of ${countText(finding.size, 'line')}: ${finding.cause}`;
}
