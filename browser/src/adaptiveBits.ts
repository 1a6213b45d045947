/** Adaptive probabilities of bits in integers, as components/entropy/pixels/adaptive_bits.py has them. */

import { PRECISION, TOTAL } from "./lanes";

const SLOTS = 1 << 18; // counters of each order
const LIMIT = 255;
const TRUST = 2;
const ONE = 2 ** 16;

const FREQUENCIES = ladder();
/** Of a one, of TOTAL, by the estimate in 2^-PRECISION. */
const FREQUENCY_OF = nearestFrequencies();

function ladder(): number[] {
  const low = [2];
  for (let last = 2; last < TOTAL / 2; low.push(last)) last = Math.min(TOTAL / 2, last + Math.max(1, last >> 3));
  return [...low, ...low.slice(0, -1).reverse().map((each) => TOTAL - each)];
}

function nearestFrequencies(): Uint16Array {
  let row = 0;
  return Uint16Array.from({ length: TOTAL }, (_, estimate) => {
    while (row + 1 < FREQUENCIES.length && Math.floor((FREQUENCIES[row]! + FREQUENCIES[row + 1]!) / 2) < estimate) row++;
    return FREQUENCIES[row]!;
  });
}

/** Estimates bits from those before in the same contexts, of several orders from the coarsest to the finest. */
export class AdaptiveBits {
  private readonly seen: Uint32Array[];
  private readonly ones: Uint32Array[];

  constructor(orders: number) {
    this.seen = Array.from({ length: orders }, () => new Uint32Array(SLOTS));
    this.ones = Array.from({ length: orders }, () => new Uint32Array(SLOTS));
  }

  /** Frequencies of a one for `count` bits, whose contexts of each order are given. */
  estimate(contexts: Uint32Array[], count: number, frequencies: Uint16Array): void {
    for (let at = 0; at < count; at++) {
      let estimate = ONE / 2;
      for (let order = 0; order < contexts.length; order++) {
        const slot = slotOf(contexts[order]![at]!);
        const ones = this.ones[order]![slot]! * ONE + TRUST * estimate;
        estimate = Math.floor(ones / (this.seen[order]![slot]! + TRUST));
      }
      frequencies[at] = FREQUENCY_OF[Math.min(estimate, ONE - 1) >> (16 - PRECISION)]!;
    }
  }

  /** Count `count` bits. */
  update(contexts: Uint32Array[], count: number, bits: Uint8Array): void {
    for (let order = 0; order < contexts.length; order++) {
      const seen = this.seen[order]!;
      const ones = this.ones[order]!;
      const context = contexts[order]!;
      const full = new Set<number>(); // a counter is halved once, however many bits of this call it counted
      for (let at = 0; at < count; at++) {
        const slot = slotOf(context[at]!);
        seen[slot]!++;
        if (bits[at]) ones[slot]!++;
        if (seen[slot]! > LIMIT) full.add(slot);
      }
      for (const slot of full) {
        seen[slot]! >>= 1;
        ones[slot]! >>= 1;
      }
    }
  }
}

function slotOf(context: number): number {
  return Math.imul(context, 2654435761) >>> 14;
}
