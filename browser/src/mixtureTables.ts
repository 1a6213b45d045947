/** Symbols of Gaussian mixtures, element by element, equal to components/coding/mixture_tables.py. */

import type { Integers } from "./integers";
import { UNIT } from "./network";
import type { RangeDecoder } from "./rangeDecoder";

const TOTAL = 2 ** 16;
const WEIGHT_UNIT = 2 ** 15;
const LIMIT = 6 * 1024; // entries of the normal distribution's table on either side
const INVERSE_UNIT = 2 ** 16;
const LARGEST_LOGIT = 10 * UNIT;
const WIDEST = 1024;
const ENTRIES_AT_ONCE = 2 ** 17; // escapes follow the elements whose tables an encoder holds at once

/** Mixtures (K, n). */
type Parts<Array> = Array[];

export class MixtureTables {
  private readonly normal: ArrayLike<number>;
  private readonly exponential: ArrayLike<number>;
  private readonly inverse: ArrayLike<number>;
  private readonly reach: ArrayLike<number>;

  constructor(integers: Integers) {
    this.normal = integers.get("normal").data;
    this.exponential = integers.get("exponential").data;
    this.inverse = integers.get("inverse_scale").data;
    this.reach = integers.get("reach").data;
  }

  /** The next whole numbers (n,), each with its mixture. */
  decode(
    decoder: RangeDecoder, logits: Parts<Float64Array>, means: Parts<Float64Array>, scales: Parts<Uint8Array>,
  ): Float64Array {
    const count = logits[0]!.length;
    const first = new Float64Array(count);
    const byWidth = new Map<number, number[]>();
    for (let at = 0; at < count; at++) {
      const width = this.support(at, means, scales, first);
      const same = byWidth.get(width);
      if (same) same.push(at);
      else byWidth.set(width, [at]);
    }
    const symbols = new Float64Array(count);
    for (const width of [...byWidth.keys()].sort((one, other) => one - other)) {
      const elements = byWidth.get(width)!;
      const together = Math.max(1, Math.floor(ENTRIES_AT_ONCE / width));
      for (let start = 0; start < elements.length; start += together) {
        const batch = elements.slice(start, start + together);
        const escaped: number[] = [];
        for (const at of batch) {
          const mixture = new Mixture(this, at, logits, means, scales, first[at]!, width);
          const entry = decoder.entry(width + 1, mixture);
          if (entry === width) escaped.push(at);
          symbols[at] = first[at]! + entry;
        }
        decoder.escapes(escaped.length).forEach((value, at) => (symbols[escaped[at]!] = value));
      }
    }
    return symbols;
  }

  /** How many values have an entry: a power of two. The value of the first goes to `first`. */
  private support(at: number, means: Parts<Float64Array>, scales: Parts<Uint8Array>, first: Float64Array): number {
    let low = Infinity;
    let high = -Infinity;
    means.forEach((each, part) => {
      const reach = this.reach[scales[part]![at]!]!;
      low = Math.min(low, each[at]! - reach);
      high = Math.max(high, each[at]! + reach);
    });
    first[at] = Math.floor(low / UNIT);
    const values = Math.min(Math.ceil(high / UNIT) - first[at]! + 1, WIDEST);
    let width = 4;
    while (width < values) width *= 2;
    return width;
  }

  /** Shares of the components in 2^-15. */
  weights(at: number, logits: Parts<Float64Array>): number[] {
    const largest = Math.max(...logits.map((each) => each[at]!));
    const weights = logits.map((each) => this.exponential[Math.min(largest - each[at]!, LARGEST_LOGIT)]!);
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => Math.floor((weight * WEIGHT_UNIT) / sum));
  }

  /** The distribution function of a component at an edge in fixed point, in 2^-24. */
  cumulative(edge: number, mean: number, scale: number): number {
    const at = Math.floor(((edge - mean) * this.inverse[scale]!) / INVERSE_UNIT);
    return this.normal[Math.max(-LIMIT, Math.min(LIMIT, at)) + LIMIT]!;
  }
}

/** The table of one element, of which an entry is computed where it is asked for. */
class Mixture {
  private readonly weights: number[];
  private readonly base: number;

  constructor(
    private readonly tables: MixtureTables, private readonly at: number, logits: Parts<Float64Array>,
    private readonly means: Parts<Float64Array>, private readonly scales: Parts<Uint8Array>,
    private readonly first: number, private readonly width: number,
  ) {
    this.weights = tables.weights(at, logits);
    this.base = this.below(0);
  }

  /** The sum of the frequencies of all entries before one. */
  upTo(entry: number): number {
    const share = this.below(entry) - this.base; // below 2^39
    const factor = TOTAL - this.width - 1;
    const high = Math.floor(share / 2 ** 20);
    const low = share - high * 2 ** 20;
    // share * factor / 2^39 in two parts, since the product may exceed 2^53
    return Math.floor((high * factor + Math.floor((low * factor) / 2 ** 20)) / 2 ** 19) + entry;
  }

  private below(entry: number): number {
    const edge = (this.first + entry) * UNIT - UNIT / 2;
    let sum = 0;
    for (let part = 0; part < this.weights.length; part++) {
      const mean = this.means[part]![this.at]!;
      sum += this.weights[part]! * this.tables.cumulative(edge, mean, this.scales[part]![this.at]!);
    }
    return sum;
  }
}
