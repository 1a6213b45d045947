/** rANS in interleaved lanes, as components/entropy/pixels/rans.py has it: symbol k of a group is lane k's. */

import { BitstreamError } from "./errors";

export const PRECISION = 12;
export const TOTAL = 1 << PRECISION;
const LOWEST = 2 ** 16; // of a state between two symbols

/** Decodes bits whose probabilities are given as frequencies of a one, of TOTAL. */
export class LaneDecoder {
  private readonly states: Uint32Array;
  private readonly words: DataView;
  private readonly count: number;
  private next = 0;

  constructor(private readonly lanes: number, data: Uint8Array) {
    if (data.length < 4 * lanes || data.length % 2) {
      throw new BitstreamError("This file is damaged: its coded bytes are not whole words.");
    }
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    this.states = Uint32Array.from({ length: lanes }, (_, lane) => view.getUint32(4 * lane, true));
    this.words = new DataView(data.buffer, data.byteOffset + 4 * lanes, data.length - 4 * lanes);
    this.count = this.words.byteLength / 2;
  }

  /** The next bits, one for each of `ones`, to `bits`. */
  decode(ones: Uint16Array, count: number, bits: Uint8Array): void {
    for (let first = 0; first < count; first += this.lanes) {
      const end = Math.min(count, first + this.lanes);
      for (let at = first; at < end; at++) bits[at] = this.bit(at - first, ones[at]!);
    }
  }

  /** Throw unless every word was read and every state is back where the encoder began. */
  finish(): void {
    if (this.next !== this.count || this.states.some((state) => state !== LOWEST)) {
      throw new BitstreamError("This file is damaged: its coded bytes do not end with the last pixel.");
    }
  }

  private bit(lane: number, ones: number): number {
    const state = this.states[lane]!;
    const slot = state & (TOTAL - 1);
    const zeros = TOTAL - ones;
    const bit = slot < zeros ? 0 : 1;
    const narrowed = (state >>> PRECISION) * (bit ? ones : zeros) + slot - (bit ? zeros : 0);
    this.states[lane] = narrowed >= LOWEST ? narrowed : narrowed * LOWEST + this.word();
    return bit;
  }

  private word(): number {
    if (this.next >= this.count) throw new BitstreamError("This file is damaged: its coded bytes end too early.");
    return this.words.getUint16(2 * this.next++, true);
  }
}
