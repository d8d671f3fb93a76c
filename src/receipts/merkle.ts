/**
 * Merkle trees of RFC 6962 (section 2.1) over the lines of a log, and the proofs of RFC 9162 (section 2.1) on them.
 * A leaf is SHA-256(0x00 ‖ line), an inner node SHA-256(0x01 ‖ left ‖ right), so that neither passes for the other.
 */
import { sha256 } from '#platform';
import { equalBytes } from './base64.ts';

export { leafHash } from './leaf-hash.ts';

const HASH_BYTES = 32;

function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const preimage = new Uint8Array(1 + 2 * HASH_BYTES);
  preimage[0] = 1;
  preimage.set(left, 1);
  preimage.set(right, 1 + HASH_BYTES);
  return sha256(preimage);
}

/** How many perfect trees a tree of `size` leaves is made of. */
function perfectTrees(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/**
 * A tree that only grows: the roots of the perfect trees that it is made of, the largest first. These are enough to
 * go on and to tell the root, and there are fewer than 64 of them.
 */
export class TreeFrontier {
  #size: number;
  readonly #roots: Uint8Array[];

  /** Throws `RangeError` when `roots` can't be those of a tree of `size` leaves. */
  constructor(size = 0, roots: readonly Uint8Array[] = []) {
    const fits =
      Number.isSafeInteger(size) &&
      size >= 0 &&
      roots.length === perfectTrees(size) &&
      roots.every((root) => root.length === HASH_BYTES);
    if (!fits) throw new RangeError(`not the perfect trees of a tree of ${size} leaves`);
    this.#size = size;
    this.#roots = [...roots];
  }

  get size(): number {
    return this.#size;
  }

  get roots(): readonly Uint8Array[] {
    return this.#roots;
  }

  add(leaf: Uint8Array): void {
    let node = leaf;
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2) {
      node = nodeHash(this.#roots.pop() as Uint8Array, node);
    }
    this.#roots.push(node);
    this.#size += 1;
  }

  /** The root of the tree as it stands; of an empty one SHA-256 of nothing. */
  root(): Uint8Array {
    const last = this.#roots.at(-1);
    if (last === undefined) return sha256(new Uint8Array(0));
    return this.#roots.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), last);
  }
}

/** The root of the leaves from `from` up to `to`. */
function rootOf(leaves: readonly Uint8Array[], from: number, to: number): Uint8Array {
  const tree = new TreeFrontier();
  for (let index = from; index < to; index++) tree.add(leaves[index] as Uint8Array);
  return tree.root();
}

/** The largest power of two below `size`: where a tree of more than one leaf is parted. */
function split(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}

/** The proof that leaf `index` is in the tree of all `leaves`: a hash for each level, from the leaf up. */
export function inclusionProof(leaves: readonly Uint8Array[], index: number): Uint8Array[] {
  if (!Number.isSafeInteger(index) || index < 0 || index >= leaves.length) {
    throw new RangeError(`there is no leaf ${index} in a tree of ${leaves.length}`);
  }
  const path: Uint8Array[] = [];
  let from = 0;
  let to = leaves.length;
  while (to - from > 1) {
    const middle = from + split(to - from);
    if (index < middle) {
      path.push(rootOf(leaves, middle, to));
      to = middle;
    } else {
      path.push(rootOf(leaves, from, middle));
      from = middle;
    }
  }
  return path.toReversed();
}

/** What is claimed of a leaf: where it stands in a tree of which size, and the hashes beside its way to the root. */
export interface InclusionClaim {
  leaf: Uint8Array;
  index: number;
  size: number;
  root: Uint8Array;
  proof: readonly Uint8Array[];
}

/** Checks an inclusion proof (RFC 9162, section 2.1.3.2). */
export function verifyInclusion({ leaf, index, size, root, proof }: InclusionClaim): boolean {
  if (!isCount(index) || !isCount(size) || index >= size || !areHashes([leaf, root, ...proof])) return false;
  let place = index;
  let last = size - 1;
  let node = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      node = nodeHash(sibling, node);
      // A node without a neighbour to its right moves up as it is.
      while (place % 2 === 0 && place !== 0) [place, last] = [place / 2, Math.floor(last / 2)];
    } else node = nodeHash(node, sibling);
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(node, root);
}

/** The proof that the tree of the first `size` leaves is a prefix of the tree of all `leaves`. */
export function consistencyProof(leaves: readonly Uint8Array[], size: number): Uint8Array[] {
  if (!Number.isSafeInteger(size) || size < 1 || size > leaves.length) {
    throw new RangeError(`a tree of ${size} leaves is no prefix of one of ${leaves.length}`);
  }
  const path: Uint8Array[] = [];
  let from = 0;
  let to = leaves.length;
  // Whether the prefix ends where the subtree in view does; then its root is known already, if it is the whole prefix.
  while (size !== to) {
    const middle = from + split(to - from);
    if (size <= middle) {
      path.push(rootOf(leaves, middle, to));
      to = middle;
    } else {
      path.push(rootOf(leaves, from, middle));
      from = middle;
    }
  }
  if (from > 0) path.push(rootOf(leaves, from, to));
  return path.toReversed();
}

/** What is claimed of two trees: that the first is a prefix of the second. */
export interface ConsistencyClaim {
  first: { size: number; root: Uint8Array };
  second: { size: number; root: Uint8Array };
  proof: readonly Uint8Array[];
}

/** Checks a consistency proof (RFC 9162, section 2.1.4.2). An empty tree proves nothing and is refused. */
export function verifyConsistency({ first, second, proof }: ConsistencyClaim): boolean {
  const { size } = first;
  if (!isCount(size) || !isCount(second.size) || size < 1 || size > second.size) return false;
  if (!areHashes([first.root, second.root, ...proof])) return false;
  if (size === second.size) return proof.length === 0 && equalBytes(first.root, second.root);
  const isPerfect = perfectTrees(size) === 1;
  const [start, ...path] = isPerfect ? [first.root, ...proof] : proof;
  if (start === undefined || (isPerfect && proof.length === 0)) return false;
  let place = size - 1;
  let last = second.size - 1;
  while (place % 2 === 1) [place, last] = [(place - 1) / 2, Math.floor(last / 2)];
  let older = start;
  let newer = start;
  for (const sibling of path) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (place % 2 === 0 && place !== 0) [place, last] = [place / 2, Math.floor(last / 2)];
    } else newer = nodeHash(newer, sibling);
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(older, first.root) && equalBytes(newer, second.root);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areHashes(values: readonly Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES);
}
