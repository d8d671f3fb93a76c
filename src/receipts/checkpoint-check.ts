/** Holds a log against checkpoints of it while its receipts are read. */
import { equalBytes } from './base64.ts';
import { checkpointProblem, type LogOwner, type ParsedCheckpoint } from './checkpoint.ts';
import { fromBase64url, thumbprint } from './keys.ts';
import { leafHash, TreeFrontier } from './merkle.ts';
import type { GenesisPayload, KeyPayload, Receipt } from './payloads.ts';

/** What a checkpoint says of a log. */
export type CheckpointFinding =
  /** The log is whole up to this many lines. */
  | { status: 'proved'; size: number }
  /** The log was cut or rewritten, or is another one: the checkpoint is its owner's own word against it. */
  | { status: 'refuted'; size: number; cause: string }
  /** The checkpoint can't be relied on, or the log could not be read that far. */
  | { status: 'open'; size: number; cause: string };

const encoder = new TextEncoder();

/** Is told of every receipt that verified, from the first on, and then knows what the checkpoints come to. */
export class CheckpointCheck {
  readonly #checkpoints: readonly ParsedCheckpoint[];
  readonly #tree = new TreeFrontier();
  readonly #owners: LogOwner[];
  /** Roots of the log at the sizes that checkpoints are of. */
  readonly #roots = new Map<number, Uint8Array>();
  readonly #sizes: ReadonlySet<number>;
  #log: string | undefined;

  /** `keys`: what the verifier holds from elsewhere. */
  constructor(checkpoints: readonly ParsedCheckpoint[], keys: readonly Uint8Array[]) {
    this.#checkpoints = checkpoints;
    this.#sizes = new Set(checkpoints.map(({ size }) => size));
    this.#owners = keys.map((publicKey) => ({ publicKey }));
  }

  /** The next receipt that verified. */
  add({ line, payload }: Pick<Receipt, 'line' | 'payload'>): void {
    this.see({ leaf: leafHash(encoder.encode(line)) });
    this.#log = payload.log;
    if (payload.type === 'genesis' || payload.type === 'key') this.admit(payload);
  }

  /** The next line's leaf alone, where nobody needs to look into the line: then `admit` is told of keys. */
  see({ leaf }: { leaf: Uint8Array }): void {
    this.#tree.add(leaf);
    if (this.#sizes.has(this.#tree.size)) this.#roots.set(this.#tree.size, this.#tree.root());
  }

  /** A receipt that says whose the log is. */
  admit(payload: GenesisPayload | KeyPayload): void {
    this.#log = payload.log;
    if (payload.type === 'genesis') this.#owners.push({ publicKey: fromBase64url(payload.public_key, 32) });
    if (payload.type !== 'key' || payload.replaces === undefined) return;
    const { replaces, seq } = payload;
    const replaced = this.#owners.filter(({ publicKey }) => thumbprint(publicKey) === replaces);
    for (const owner of replaced) owner.until = seq;
    if (replaced.length > 0) this.#owners.push({ publicKey: fromBase64url(payload.public_key, 32) });
  }

  /** What each checkpoint comes to. `isWhole` says that the log was read to its end without a problem. */
  findings(isWhole: boolean): CheckpointFinding[] {
    return this.#checkpoints.map((checkpoint) => this.#finding(checkpoint, isWhole));
  }

  #finding(checkpoint: ParsedCheckpoint, isWhole: boolean): CheckpointFinding {
    const { size } = checkpoint;
    const lines = this.#tree.size;
    const problem = checkpointProblem(checkpoint, this.#owners);
    if (problem !== undefined) return { status: 'open', size, cause: problem.cause };
    if (this.#log !== undefined && this.#log !== checkpoint.log) {
      const cause = `this is log ${this.#log}, and the checkpoint is of log ${checkpoint.log}`;
      return { status: 'refuted', size, cause };
    }
    const root = this.#roots.get(size);
    if (root !== undefined) {
      if (equalBytes(root, checkpoint.root)) return { status: 'proved', size };
      const cause = `its first ${size} lines are not those of the checkpoint: it was rewritten`;
      return { status: 'refuted', size, cause };
    }
    if (!isWhole) {
      return { status: 'open', size, cause: `only ${lines} of the checkpoint’s ${size} lines verified` };
    }
    const cause = `it has ${lines} lines, and the checkpoint covers ${size}: lines were cut from its end`;
    return { status: 'refuted', size, cause };
  }
}
