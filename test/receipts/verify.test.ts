/** Logs that were tampered with, and logs that were not. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createSpendGuard, memoryLedger, setCostOverride } from '../../src/index.ts';
import { admitPublicKey, signerFromSeed, verifySignature, type Signer } from '../../src/receipts/keys.ts';
import { canonicalJson } from '../../src/receipts/canonical-json.ts';
import { verifyLog, type LogVerdict } from '../../src/receipts/index.ts';
import * as web from '../../src/platform-web.ts';
import * as native from '../../src/node/platform.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(7));
const attacker = signerFromSeed(new Uint8Array(32).fill(8));
let lines: string[] = [];
let otherLog: string[] = [];

async function honestLog(seed: number, calls = 6): Promise<string[]> {
  setCostOverride('verify/model', { inputCentsPerKtok: 1, outputCentsPerKtok: 1 });
  const ledger = memoryLedger({ signer });
  const keys = signerFromSeed(new Uint8Array(32).fill(seed));
  const guard = createSpendGuard({
    policy: {
      id: 'verify',
      scope: { tenantId: 'acme' },
      caps: [{ amountCents: 1000, window: 'per_day', action: 'block' }],
      version: 1,
      effectiveFrom: '2026-01-01T00:00:00Z',
    },
    ledger,
    signingKeys: { privateKey: new Uint8Array(32).fill(seed), publicKey: keys.publicKey },
  });
  for (let index = 0; index < calls; index++) {
    const call = await guard.begin({ model: 'verify/model', inputTokens: 10, maxOutputTokens: 10 });
    await call.settle({ outcome: 'ok', usage: { inputTokens: 9, outputTokens: 5 } });
  }
  await guard.close();
  const found: string[] = [];
  for await (const { line } of ledger.read()) found.push(line);
  return found;
}

function verify(log: readonly string[] | Uint8Array, more: { log?: string } = {}): Promise<LogVerdict> {
  const bytes =
    log instanceof Uint8Array ? log : new TextEncoder().encode(log.map((line) => `${line}\n`).join(''));
  return verifyLog([bytes], { keys: [signer.publicKey], ...more });
}

type Envelope = { payload: Record<string, unknown>; signature: Record<string, unknown> };
const open = (line: string): Envelope => JSON.parse(line) as Envelope;

/** Writes a payload as a line signed by `by`. */
function resign(payload: Record<string, unknown>, by: Signer): string {
  const body = canonicalJson({ ...payload, issuer_id: by.kid });
  const sig = Buffer.from(by.sign(new TextEncoder().encode(body))).toString('hex');
  return `{"payload":${body},"signature":{"alg":"EdDSA","kid":"${by.kid}","sig":"${sig}"}}`;
}

const hashOf = (line: string): string => `sha256:${createHash('sha256').update(line).digest('hex')}`;

/** Rewrites everything from `index` on so that the links fit again, signed by `by`. */
function relink(log: readonly string[], index: number, by: Signer): string[] {
  const rewritten = log.slice(0, index);
  for (const line of log.slice(index)) {
    const { payload } = open(line);
    const previous = rewritten.at(-1);
    rewritten.push(resign({ ...payload, ...(previous && { previousReceiptHash: hashOf(previous) }) }, by));
  }
  return rewritten;
}

beforeAll(async () => {
  lines = await honestLog(3);
  otherLog = await honestLog(3);
});

describe('an honest log', () => {
  it('is valid, however its bytes are chunked', async () => {
    expect(await verify(lines)).toMatchObject({ integrity: 'valid', receipts: lines.length });
    const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(''));
    const chunks = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, index) =>
      bytes.subarray(index * 7, index * 7 + 7),
    );
    expect(await verifyLog(chunks, { keys: [signer.publicKey] })).toMatchObject({ integrity: 'valid' });
  });

  it('keeps payloads of 32 caps and long names within 4096 bytes', async () => {
    const ledger = memoryLedger({ signer });
    const long = (letter: string): string => letter.repeat(64);
    const windows = [
      'per_minute',
      'per_hour',
      'per_day',
      'per_week',
      'per_month',
      'per_task',
      'total',
      'per_call',
    ] as const;
    const per = [undefined, ['userId'], ['agentId'], ['teamId', 'task']] as const;
    const guard = createSpendGuard({
      policy: {
        id: 'wide',
        scope: { tenantId: 'acme' },
        caps: Array.from({ length: 32 }, (_, index) => {
          const scope = per[Math.floor(index / 8)];
          return {
            amountCents: 9e12 + index,
            window: windows[index % 8]!,
            action: 'block',
            ...(scope && { per: scope }),
          } as const;
        }),
        version: 1,
        effectiveFrom: '2026-01-01T00:00:00Z',
      },
      scope: { userId: long('u'), agentId: long('a'), teamId: long('t'), taskId: long('k'), task: long('w') },
      ledger,
    });
    setCostOverride('verify/dear', { inputCentsPerKtok: 1e7, outputCentsPerKtok: 1e7 });
    for (let index = 0; index < 3; index++) {
      const call = await guard.begin({ model: 'verify/dear', inputTokens: 1e6, maxOutputTokens: 1e6 });
      await call.settle({
        outcome: 'ok',
        servedModel: long('m'),
        servedProvider: long('p'),
        providerRef: long('r'),
        cost: 123456.789,
      });
    }
    let longest = 0;
    for await (const { payload } of ledger.read()) {
      if (payload.type === 'decision' || payload.type === 'settlement')
        longest = Math.max(longest, canonicalJson(payload).length);
    }
    expect(longest).toBeGreaterThan(1000);
    expect(longest).toBeLessThanOrEqual(4096);
  });
});

describe('a tampered log', () => {
  const middle = 6;
  const change = (edit: (payload: Record<string, unknown>) => void): string[] => {
    const { payload, signature } = open(lines[middle]!);
    edit(payload);
    return lines.with(middle, canonicalJson({ payload, signature }));
  };

  it.each<[string, () => string[], RegExp]>([
    [
      'altered field',
      () => change((payload) => (payload['scope'] = { tenantId: 'other' })),
      /signature does not fit|does not fit the payload/,
    ],
    [
      'altered and re-hashed',
      () =>
        relink(
          change((payload) => (payload['seq'] = 6)),
          middle,
          attacker,
        ),
      /unknown key/,
    ],
    [
      're-signed by an attacker',
      () => lines.with(middle, resign(open(lines[middle]!).payload, attacker)),
      /unknown key/,
    ],
    [
      'one line rewritten with the real key, the rest left as it was',
      () =>
        lines.with(middle, resign({ ...open(lines[middle]!).payload, scope: { tenantId: 'other' } }, signer)),
      /previousReceiptHash is not the hash/,
    ],
    ['a line deleted', () => lines.toSpliced(middle, 1), /seq is 7, expected 6/],
    [
      'two lines swapped',
      () => lines.with(middle, lines[middle + 1]!).with(middle + 1, lines[middle]!),
      /seq is 7/,
    ],
    ['a line twice', () => lines.toSpliced(middle, 0, lines[middle]!), /seq is 6, expected 7/],
    ['the beginning cut', () => lines.slice(1), /genesis/],
    ['a line of another log', () => lines.with(middle, otherLog[middle]!), /belongs to log/],
    ['replayed genesis', () => [...lines, lines[0]!], /second genesis/],
    [
      'clock rolled back',
      () =>
        relink(
          change((payload) => (payload['issued_at'] = '2020-01-01T00:00:00.000Z')),
          middle,
          signer,
        ),
      /backwards/,
    ],
    ['CRLF', () => lines.with(middle, `${lines[middle]!}\r`), /RFC 8785/],
    ['blank line', () => lines.toSpliced(middle, 0, ''), /not JSON/],
    ['BOM', () => lines.with(0, `\ufeff${lines[0]!}`), /not JSON/],
    [
      'pretty-printed',
      () => lines.with(middle, JSON.stringify(open(lines[middle]!), undefined, 1).replaceAll('\n', '')),
      /RFC 8785/,
    ],
    [
      'members in another order',
      () =>
        lines.with(
          middle,
          lines[middle]!.replace(
            /^\{"payload":(.*),"signature":(\{.*\})\}$/,
            '{"signature":$2,"payload":$1}',
          ),
        ),
      /RFC 8785/,
    ],
    [
      'duplicate member',
      () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":9,"scale":9')),
      /RFC 8785/,
    ],
    [
      'number forms',
      () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":9.0')),
      /RFC 8785/,
    ],
    ['exponent', () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":9e0')), /RFC 8785/],
    [
      'beyond 2^53',
      () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":9007199254740993')),
      /safe integers|RFC 8785/,
    ],
    [
      'minus zero',
      () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":-0')),
      /safe integers/,
    ],
    ['float', () => lines.with(middle, lines[middle]!.replace('"scale":9', '"scale":9.5')), /safe integers/],
    [
      'needless escape',
      () => lines.with(middle, lines[middle]!.replace('"acme"', '"\\u0061cme"')),
      /RFC 8785/,
    ],
    ['lone surrogate', () => lines.with(middle, lines[middle]!.replace('"acme"', '"\\ud800"')), /surrogate/],
    [
      '__proto__',
      () =>
        relink(
          lines.with(middle, lines[middle]!.replace('{"call"', '{"__proto__":{"x":1},"call"')),
          lines.length,
          signer,
        ),
      /__proto__|never/,
    ],
    ['unsigned sibling', () => lines.with(middle, lines[middle]!.replace(/\}$/, ',"zzz":1}')), /no others/],
    [
      'upper-case hex',
      () =>
        lines.with(
          middle,
          lines[middle]!.replace(/"sig":"([0-9a-f]+)"/, (_, sig: string) => `"sig":"${sig.toUpperCase()}"`),
        ),
      /signature does not fit/,
    ],
    ['alg none', () => lines.with(middle, lines[middle]!.replace('"alg":"EdDSA"', '"alg":"none"')), /EdDSA/],
    [
      'kid swapped',
      () => lines.with(middle, lines[middle]!.replace(/"kid":"[^"]+"/, `"kid":"${attacker.kid}"`)),
      /issuer_id/,
    ],
    [
      'unknown type',
      () =>
        relink(
          change((payload) => (payload['type'] = 'gift')),
          middle,
          signer,
        ),
      /unknown receipt type/,
    ],
    [
      'unknown member',
      () =>
        relink(
          change((payload) => (payload['gift'] = 1)),
          middle,
          signer,
        ),
      /gift/,
    ],
    [
      'a policy other than its digest',
      () =>
        relink(
          lines.map((line) => line.replace('"version":1', '"version":2')),
          1,
          signer,
        ),
      /digest/,
    ],
  ])('%s is never valid', async (_name, tamper, cause) => {
    const verdict = await verify(tamper());
    expect(verdict.integrity).not.toBe('valid');
    expect(verdict.cause).toMatch(cause);
  });

  it('flipping any byte of a short log makes it invalid', async () => {
    const bytes = new TextEncoder().encode(
      lines
        .slice(0, 4)
        .map((line) => `${line}\n`)
        .join(''),
    );
    for (let index = 0; index < bytes.length; index++) {
      const flipped = bytes.slice();
      flipped[index] = flipped[index]! ^ 1;
      const { integrity } = await verify(flipped);
      expect(integrity, `byte ${index}`).not.toBe('valid');
    }
  });

  it('invalid UTF-8 that decodes to the same text is invalid', async () => {
    const text = new TextEncoder().encode(`${lines.join('\n')}\n`);
    const at = text.lastIndexOf('o'.charCodeAt(0));
    for (const garbage of [[0xf0, 0x90, 0x80], [0xff], [0xed, 0xa0, 0x80]]) {
      const bad = new Uint8Array([...text.slice(0, at), ...garbage, ...text.slice(at + 1)]);
      expect(await verify(bad)).toMatchObject({ integrity: 'invalid', cause: 'the line is not valid UTF-8' });
    }
  });

  it('cut in the middle of a line, empty, of another log, or by an unknown key', async () => {
    const bytes = new TextEncoder().encode(`${lines.join('\n')}\n`);
    expect(await verify(bytes.slice(0, -1))).toMatchObject({ integrity: 'undecidable', line: lines.length });
    expect(await verify([])).toMatchObject({ integrity: 'undecidable' });
    expect(await verify(lines, { log: 'AAAAAAAAAAAAAAAAAAAAAA' })).toMatchObject({
      integrity: 'invalid',
      line: 1,
    });
    const stranger = await verifyLog([bytes], { keys: [attacker.publicKey] });
    expect(stranger).toMatchObject({ integrity: 'undecidable', line: 1 });
  });

  it('a key is admitted only by the installation key, and only with proof that its holder has it', async () => {
    const index = lines.findIndex((line) => open(line).payload['type'] === 'key');
    const { payload } = open(lines[index]!);
    const noProof = relink(
      lines.with(index, resign({ ...payload, proof: '0'.repeat(128) }, signer)),
      index,
      signer,
    );
    expect(await verify(noProof)).toMatchObject({
      integrity: 'invalid',
      cause: expect.stringContaining('prove'),
    });
    // A log key that admits another key is refused, although it may sign receipts.
    const logKey = signerFromSeed(new Uint8Array(32).fill(3));
    const tail = {
      ...payload,
      seq: lines.length,
      previousReceiptHash: hashOf(lines.at(-1)!),
      issued_at: open(lines.at(-1)!).payload['issued_at'],
    };
    expect(await verify([...lines, resign(tail, logKey)])).toMatchObject({
      integrity: 'invalid',
      cause: 'a key receipt may be signed only by the installation key',
    });
  });
});

describe('keys and signatures', () => {
  const identity = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));
  const orderTwo = Uint8Array.from({ length: 32 }, (_, index) =>
    index === 0 ? 0xec : index === 31 ? 0x7f : 0xff,
  );
  const nonCanonical = Uint8Array.from({ length: 32 }, (_, index) =>
    index === 0 ? 0xee : index === 31 ? 0x7f : 0xff,
  );

  it.each([
    ['identity', identity],
    ['order two', orderTwo],
    ['not canonical', nonCanonical],
    ['too short', new Uint8Array(31)],
  ])('refuses the public key: %s', (_name, key) => expect(admitPublicKey(key)).toHaveProperty('refused'));

  it('refuses S + L, R = identity, wrong lengths', () => {
    const admitted = admitPublicKey(signer.publicKey);
    if ('refused' in admitted) throw new Error(admitted.refused);
    const message = new TextEncoder().encode('m');
    const good = Buffer.from(signer.sign(message)).toString('hex');
    expect(verifySignature(admitted.key, message, good)).toBe(true);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s =
      BigInt(`0x${Buffer.from(Buffer.from(good.slice(64), 'hex').toReversed()).toString('hex')}`) + order;
    const big = Buffer.from(Buffer.from(s.toString(16).padStart(64, '0'), 'hex').toReversed()).toString(
      'hex',
    );
    expect(verifySignature(admitted.key, message, good.slice(0, 64) + big)).toBe(false);
    expect(verifySignature(admitted.key, message, `01${'00'.repeat(31)}${good.slice(64)}`)).toBe(false);
    expect(verifySignature(admitted.key, message, good.slice(0, 126))).toBe(false);
  });

  it('native and noble backends give the same signatures and the same verdicts', () => {
    for (let index = 0; index < 40; index++) {
      const seed = new Uint8Array(32).fill(index + 1);
      const bytes = new TextEncoder().encode(`message ${index}`);
      const publicKey = native.publicKeyOf(seed);
      expect(web.publicKeyOf(seed)).toEqual(publicKey);
      const signature = native.sign(native.signingKey(seed), bytes);
      expect(Buffer.from(web.sign(web.signingKey(seed), bytes))).toEqual(Buffer.from(signature));
      const bad = Uint8Array.from(signature);
      bad[index % 64] = bad[index % 64]! ^ 1;
      for (const candidate of [new Uint8Array(signature), bad]) {
        const verdict = native.verify(native.verifyingKey(publicKey), bytes, candidate);
        expect(web.verify(publicKey, bytes, candidate)).toBe(verdict);
      }
    }
  });

  it('stock verifiers agree: what node:crypto signs, we verify', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
    const admitted = admitPublicKey(raw);
    if ('refused' in admitted) throw new Error(admitted.refused);
    const message = new TextEncoder().encode('hello');
    expect(verifySignature(admitted.key, message, sign(null, message, privateKey).toString('hex'))).toBe(
      true,
    );
  });
});
