/** Lower-case hex, read strictly: there is one text for the same bytes. */

/** The value of each lower-case hex digit by its code; 16 for everything else. */
const DIGITS = new Uint8Array(128).fill(16);
for (let digit = 0; digit < 16; digit++) DIGITS[digit.toString(16).charCodeAt(0)] = digit;

/** The bytes that lower-case hex stands for. Throws `RangeError` for any other text. */
export function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length >>> 1);
  if (hex.length % 2 !== 0) throw new RangeError('not lower-case hex');
  for (let index = 0; index < bytes.length; index++) {
    const high = DIGITS[hex.charCodeAt(index * 2)] ?? 16;
    const low = DIGITS[hex.charCodeAt(index * 2 + 1)] ?? 16;
    if (high === 16 || low === 16) throw new RangeError('not lower-case hex');
    bytes[index] = high * 16 + low;
  }
  return bytes;
}
