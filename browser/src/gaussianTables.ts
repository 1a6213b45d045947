/** Tables of quantised Gaussians, as components/coding/gaussian_tables.py has them. */

import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { rounded } from "./network";
import { Table, type RangeDecoder } from "./rangeDecoder";

export const SCALES = 48;
export const FRACTIONS = 4; // means are in quarters of a quantiser step
const TABLES_PER_LOG = 30240;
const TABLE_OF_ONE = 4172;

export class GaussianTables {
  private readonly tables: Table[] = [];

  constructor(kernel: Kernel, integers: Integers) {
    const frequencies = integers.get("frequencies").data;
    let first = 0;
    for (const support of integers.get("support").data) {
      for (let fraction = 0; fraction < FRACTIONS; fraction++) {
        const end = first + 2 * support + 2;
        this.tables.push(new Table(kernel, frequencies.subarray(first, end)));
        first = end;
      }
    }
  }

  /** The table of a scale, and of a mean of (fraction - 2) / 4. */
  table(scale: number, fraction = FRACTIONS / 2): Table {
    return this.tables[scale * FRACTIONS + fraction]!;
  }

  /** Whole numbers in the order of their scales: all of one scale after another. */
  decode(decoder: RangeDecoder, scales: Uint8Array): Int32Array {
    const starts = new Int32Array(SCALES + 1);
    for (let at = 0; at < scales.length; at++) starts[scales[at]! + 1]!++;
    for (let scale = 0; scale < SCALES; scale++) starts[scale + 1]! += starts[scale]!;
    const sorted = new Int32Array(scales.length);
    for (let scale = 0; scale < SCALES; scale++) {
      const first = starts[scale]!;
      const count = starts[scale + 1]! - first;
      if (count) sorted.set(decoder.values(count, this.table(scale)), first);
    }
    const values = new Int32Array(scales.length);
    for (let at = 0; at < scales.length; at++) values[at] = sorted[starts[scales[at]!]!++]!;
    return values;
  }
}

/** The table whose scale is nearest, from the logarithm of a scale in fixed point and that of the gain. */
export function tableIndex(logScale: number, shift: number): number {
  const units = rounded(logScale * TABLES_PER_LOG, 2 ** 12) + TABLE_OF_ONE + shift;
  return Math.max(0, Math.min(SCALES - 1, rounded(units, 2 ** 8)));
}
