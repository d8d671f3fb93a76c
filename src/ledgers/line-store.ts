/** Lines as bytes in a few large pieces: as strings each would be copied twice by the garbage collector. */
import { strictUtf8 } from '../receipts/canonical-json.ts';

const FIRST_PIECE = 4096;
const LARGEST_PIECE = 256 * 1024;

const encoder = new TextEncoder();

export class LineStore {
  readonly #pieces: Uint8Array[] = [];
  /** For each line the number of its piece, and where in it the line begins and ends. */
  readonly #places: number[] = [];
  /** How much of the last piece is taken. */
  #taken = 0;

  get length(): number {
    return this.#places.length / 3;
  }

  /** `line` must be well-formed. */
  push(line: string): void {
    let piece = this.#pieces.at(-1);
    // Three bytes at most for each unit.
    if (piece === undefined || piece.length - this.#taken < line.length * 3) {
      const size = Math.min((piece?.length ?? FIRST_PIECE / 2) * 2, LARGEST_PIECE);
      this.#pieces.push((piece = new Uint8Array(Math.max(size, line.length * 3))));
      this.#taken = 0;
    }
    const start = this.#taken;
    this.#taken += encoder.encodeInto(line, piece.subarray(start)).written;
    this.#places.push(this.#pieces.length - 1, start, this.#taken);
  }

  at(index: number): string {
    const [piece = 0, start, end] = this.#places.slice(index * 3, index * 3 + 3);
    return strictUtf8((this.#pieces[piece] as Uint8Array).subarray(start, end));
  }
}
