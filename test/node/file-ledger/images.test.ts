import { describe, expect, it } from 'vitest';
import { AgentGuardError } from '../../../src/errors.ts';
import { range } from '../../../src/testing/conformance-kit.ts';
import { generateKeys, lineOf, makeImage, openWith, sha256Of, type Image, type Opening } from './images.ts';

/** The log was mended: a valid prefix that holds what was durable, the rest in quarantine, and a receipt of both. */
function expectRecovered(image: Image, damaged: Uint8Array, opening: Opening): void {
  expect(opening.error).toBeUndefined();
  expect(opening.integrity).toBe('valid');
  const recovered = opening.receipts.flatMap(({ payload }) =>
    payload.type === 'recovered' ? [payload] : [],
  );
  expect(recovered.length).toBe(1);
  const [receipt] = recovered as [(typeof recovered)[0]];
  const kept = image.starts[receipt.seq] as number;
  expect(receipt.seq).toBeGreaterThanOrEqual(image.durable);
  expect(opening.bytes.subarray(0, kept)).toEqual(image.bytes.subarray(0, kept));
  const dropped = Buffer.from(damaged.subarray(kept));
  expect(receipt.dropped_bytes).toBe(dropped.length);
  expect(receipt.dropped_sha256).toBe(sha256Of(dropped));
  expect([...opening.quarantine.keys()].map((name) => `quarantine/${name}`)).toEqual([receipt.quarantine]);
  expect([...opening.quarantine.values()]).toEqual([dropped]);
}

/** The log was refused, with its line named, and left as it was. */
function expectRefused(damaged: Uint8Array, opening: Opening, what: string): string {
  expect(opening.error, what).toBeInstanceOf(AgentGuardError);
  const { code, message } = opening.error as AgentGuardError;
  expect(code).toBe('log_damaged');
  expect(message).toMatch(
    /^line \d+ of .+decisions\.ndjson (was changed|can’t be trusted): .+left as it is/s,
  );
  expect(opening.bytes.equals(damaged)).toBe(true);
  expect(opening.quarantine.size).toBe(0);
  return message;
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('what a crash leaves', () => {
  it('is mended wherever in the last batch the log ends', async () => {
    const image = await makeImage(4, 2);
    const from = image.starts[image.durable] as number;
    expect(image.starts.length - 1).toBe(image.durable + 2);
    // Every byte of the last line; of the one before it, which is cut with the last one gone, every fourth.
    const lastLine = image.starts[image.durable + 1] as number;
    for (let end = from; end <= image.bytes.length; end += end < lastLine - 8 ? 4 : 1) {
      const torn = image.bytes.subarray(0, end);
      const opening = await openWith(image, torn);
      if (image.starts.includes(end)) {
        expect(opening.integrity).toBe('valid');
        expect(opening.bytes.subarray(0, end).equals(torn)).toBe(true);
        expect(opening.quarantine.size).toBe(0);
      } else expectRecovered(image, torn, opening);
    }
  });

  it.each([
    ['zeros', () => 0],
    ['garbage', randomOf(7)],
  ])('is mended when sectors of the unsynced tail hold %s', async (_, value) => {
    const image = await makeImage(30, 20, 10);
    const from = image.starts[image.durable] as number;
    const random = randomOf(1);
    const sectors = range(Math.ceil(image.bytes.length / 512)).filter((sector) => sector * 512 >= from);
    let recovered = 0;
    for (let trial = 0; trial < 120; trial++) {
      const bytes = Buffer.from(image.bytes);
      const share = random() * 0.3;
      for (const sector of sectors) {
        if (random() >= share && sector !== sectors[trial % sectors.length]) continue;
        for (let at = sector * 512; at < Math.min(bytes.length, (sector + 1) * 512); at++) {
          bytes[at] = Math.floor(value() * 256);
        }
      }
      const cut = random() < 0.3 ? bytes.subarray(0, bytes.length - Math.floor(random() * 3000)) : bytes;
      const opening = await openWith(image, cut);
      expectRecovered(image, cut, opening);
      recovered += 1;
    }
    expect(recovered).toBe(120);
  });
});

describe('what no crash leaves', () => {
  // A short log that is read from its start, and a longer one that is opened from a snapshot.
  const images = Promise.all([makeImage(8, 1), makeImage(40, 1, 25)]);

  it.each([0, 1])('is refused where one byte was flipped in any earlier line (log %i)', async (which) => {
    const image = (await images)[which] as Image;
    const random = randomOf(3);
    for (let index = 0; index < image.durable; index++) {
      const { length } = lineOf(image, index);
      // In the payload, in the signature, the newline, and the first byte.
      for (const at of [Math.floor(random() * length), length - 20, length - 1, 0]) {
        const bytes = Buffer.from(image.bytes);
        const place = (image.starts[index] as number) + at;
        bytes[place] = (bytes[place] as number) ^ (1 << Math.floor(random() * 7));
        const message = expectRefused(bytes, await openWith(image, bytes), `line ${index + 1}, byte ${at}`);
        const named = Number(/^line (\d+)/.exec(message)?.[1]);
        expect({ index, at, named, near: Math.abs(named - 1 - index) <= 1 }).toMatchObject({ near: true });
      }
    }
  });

  it('is refused where the receipt that admits every later signer was damaged', async () => {
    const image = await makeImage(4, 1, undefined, generateKeys());
    const bytes = Buffer.from(image.bytes);
    const place = image.starts[1] as number;
    bytes[place] = 0x20;
    expect(lineOf(image, 1).toString()).toContain('"type":"key"');
    const message = expectRefused(bytes, await openWith(image, bytes), 'key');
    expect(message).toMatch(/^line 2 /);
  });

  it.each([0, 1])(
    'is refused where a line was changed and is still JSON, the last one too (log %i)',
    async (which) => {
      const image = (await images)[which] as Image;
      for (let index = 0; index < image.starts.length - 1; index++) {
        const line = lineOf(image, index).toString();
        const changes = [
          line.replace(/"sig":"(.)/, (_, digit: string) => `"sig":"${digit === '0' ? '1' : '0'}`),
          line.replace(/"seq":(\d+)/, (_, seq: string) => `"seq":${Number(seq) + 1}`),
          line.replace(/"(hold|amount)":"\d+"/, '"$1":"1"'),
        ].filter((changed) => changed !== line);
        for (const changed of changes) {
          const bytes = Buffer.concat([
            image.bytes.subarray(0, image.starts[index]),
            Buffer.from(changed),
            image.bytes.subarray(image.starts[index + 1]),
          ]);
          const message = expectRefused(bytes, await openWith(image, bytes), changed);
          const named = Number(/^line (\d+)/.exec(message)?.[1]);
          expect({ index, changed, named, near: Math.abs(named - 1 - index) <= 1 }).toMatchObject({
            near: true,
          });
        }
      }
    },
  );

  it.each([0, 1])(
    'is refused where a line is missing, doubled, or two have changed places (log %i)',
    async (which) => {
      const image = (await images)[which] as Image;
      const lines = range(image.starts.length - 1).map((index) => lineOf(image, index));
      for (let index = 0; index < lines.length - 1; index++) {
        const [line, next] = [lines[index], lines[index + 1]] as [Buffer, Buffer];
        const others = [lines.slice(0, index), lines.slice(index + 2)] as const;
        for (const [what, middle] of Object.entries({
          missing: [next],
          doubled: [line, line, next],
          swapped: [next, line],
        })) {
          const bytes = Buffer.concat([...others[0], ...middle, ...others[1]]);
          const message = expectRefused(bytes, await openWith(image, bytes), `${what} ${index}`);
          const named = Number(/^line (\d+)/.exec(message)?.[1]);
          expect({ what, index, named, near: Math.abs(named - 1 - index) <= 2 }).toMatchObject({
            near: true,
          });
        }
      }
    },
  );
});
