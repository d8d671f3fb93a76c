/** Merkle trees against published vectors, and against the definition of RFC 6962 written down a second time. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  consistencyProof,
  inclusionProof,
  leafHash,
  TreeFrontier,
  verifyConsistency,
  verifyInclusion,
} from '../../src/receipts/merkle.ts';

const sha256 = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** RFC 6962, section 2.1, word by word: MTH over the entries themselves. */
function rootByDefinition(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0) return sha256();
  if (entries.length === 1) return sha256(Uint8Array.of(0), entries[0] as Uint8Array);
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  return sha256(Uint8Array.of(1), rootByDefinition(entries.slice(0, k)), rootByDefinition(entries.slice(k)));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const entry = (index: number): Uint8Array => new TextEncoder().encode(`{"payload":${index}}`);
const MOST = 130;
const entries = Array.from({ length: MOST }, (_, index) => entry(index));
const leaves = entries.map(leafHash);

/** The trees of the Certificate Transparency reference implementation (merkletree test vectors). */
const CT_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const CT_ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

describe('a tree', () => {
  it('has the roots of the published vectors', () => {
    const tree = new TreeFrontier();
    expect(hex(tree.root())).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    for (const [index, text] of CT_LEAVES.entries()) {
      tree.add(leafHash(new Uint8Array(Buffer.from(text, 'hex'))));
      expect(hex(tree.root())).toBe(CT_ROOTS[index]);
    }
  });

  it('has the inclusion and consistency proofs of the published vectors', () => {
    const vector = CT_LEAVES.map((text) => leafHash(new Uint8Array(Buffer.from(text, 'hex'))));
    expect(inclusionProof(vector, 0).map(hex)).toEqual([
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]);
    expect(consistencyProof(vector, 6).map(hex)).toEqual([
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
  });

  it('has the root of the definition at every size, also when it goes on from its frontier', () => {
    const tree = new TreeFrontier();
    for (let size = 1; size <= MOST; size++) {
      tree.add(leaves[size - 1] as Uint8Array);
      const resumed = new TreeFrontier(size, tree.roots);
      const expected = hex(rootByDefinition(entries.slice(0, size)));
      expect([hex(tree.root()), hex(resumed.root())]).toEqual([expected, expected]);
    }
  });

  it('refuses a frontier of another size', () => {
    expect(() => new TreeFrontier(3, [leaves[0] as Uint8Array])).toThrow(RangeError);
    expect(() => new TreeFrontier(1, [new Uint8Array(31)])).toThrow(RangeError);
    expect(() => new TreeFrontier(-1)).toThrow(RangeError);
  });
});

describe('an inclusion proof', () => {
  it('holds for every leaf of every tree of up to 130, and for no other place, size or leaf', () => {
    let checked = 0;
    for (let size = 1; size <= MOST; size++) {
      const tree = leaves.slice(0, size);
      const root = rootByDefinition(entries.slice(0, size));
      for (let index = 0; index < size; index++) {
        const leaf = tree[index] as Uint8Array;
        const proof = inclusionProof(tree, index);
        const claim = { leaf, index, size, root, proof };
        if (!verifyInclusion(claim)) throw new Error(`leaf ${index} of ${size} is not proved`);
        const lies = [
          { ...claim, index: (index + 1) % size === index ? index + 1 : (index + 1) % size },
          { ...claim, index: size },
          { ...claim, leaf: leafHash(entry(MOST + 1)) },
          { ...claim, proof: [...proof, leaf] },
          ...(proof.length > 0
            ? [
                { ...claim, proof: proof.slice(1) },
                { ...claim, proof: proof.slice(0, -1) },
              ]
            : []),
          ...(proof.length > 1 ? [{ ...claim, proof: proof.toReversed() }] : []),
        ];
        for (const lie of lies) {
          if (verifyInclusion(lie)) throw new Error(`a lie about leaf ${index} of ${size} passes`);
        }
        checked += 1;
      }
    }
    expect(checked).toBe((MOST * (MOST + 1)) / 2);
  });

  it('is refused when any bit of it is changed', () => {
    const size = 41;
    const tree = leaves.slice(0, size);
    const claim = {
      leaf: tree[17] as Uint8Array,
      index: 17,
      size,
      root: rootByDefinition(entries.slice(0, size)),
      proof: inclusionProof(tree, 17),
    };
    fc.assert(
      fc.property(fc.nat(claim.proof.length - 1), fc.nat(255), (which, bit) => {
        const proof = claim.proof.map((hash) => Uint8Array.from(hash));
        const hash = proof[which] as Uint8Array;
        hash[bit >> 3] = (hash[bit >> 3] as number) ^ (1 << (bit & 7));
        return !verifyInclusion({ ...claim, proof });
      }),
    );
  });

  it('can’t be led by numbers that are none', () => {
    const claim = {
      leaf: leaves[0] as Uint8Array,
      index: 0,
      size: 1,
      root: leaves[0] as Uint8Array,
      proof: [],
    };
    expect(verifyInclusion(claim)).toBe(true);
    for (const index of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(verifyInclusion({ ...claim, index })).toBe(false);
    }
    for (const size of [0, -1, 1.5, Number.NaN]) expect(verifyInclusion({ ...claim, size })).toBe(false);
    expect(() => inclusionProof(leaves, MOST)).toThrow(RangeError);
  });

  it('of an inner node passes only where somebody else chooses the size', () => {
    // Why the size is taken from the signed note: in a tree of half the size the parents of the leaves are "leaves".
    const size = 64;
    const root = rootByDefinition(entries.slice(0, size));
    const parents = Array.from({ length: 32 }, (_, index) =>
      sha256(Uint8Array.of(1), leaves[index * 2] as Uint8Array, leaves[index * 2 + 1] as Uint8Array),
    );
    const proof = inclusionProof(parents, 5);
    const claim = { leaf: parents[5] as Uint8Array, index: 5, root, proof };
    expect(verifyInclusion({ ...claim, size: 32 })).toBe(true);
    expect(verifyInclusion({ ...claim, size })).toBe(false);
  });
});

describe('a consistency proof', () => {
  it('holds between every two trees of up to 130, and for no others', () => {
    const roots = Array.from({ length: MOST + 1 }, (_, size) => rootByDefinition(entries.slice(0, size)));
    const another = rootByDefinition([...entries.slice(0, 7), entry(999)]);
    for (let second = 1; second <= MOST; second++) {
      for (let first = 1; first <= second; first++) {
        const proof = consistencyProof(leaves.slice(0, second), first);
        const claim = {
          first: { size: first, root: roots[first] as Uint8Array },
          second: { size: second, root: roots[second] as Uint8Array },
          proof,
        };
        if (!verifyConsistency(claim)) throw new Error(`${first} of ${second} is not proved`);
        const lies = [
          { ...claim, first: { size: first, root: another } },
          { ...claim, second: { size: second, root: another } },
          { ...claim, proof: [...proof, another] },
          ...(proof.length > 0 ? [{ ...claim, proof: proof.slice(1) }] : []),
        ];
        for (const lie of lies) {
          if (verifyConsistency(lie)) throw new Error(`a lie about ${first} of ${second} passes`);
        }
      }
    }
    expect(() => consistencyProof(leaves, 0)).toThrow(RangeError);
    expect(
      verifyConsistency({
        first: { size: 0, root: sha256() },
        second: { size: 1, root: sha256() },
        proof: [],
      }),
    ).toBe(false);
  });
});
