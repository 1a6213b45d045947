/** Quantiser steps of each channel at a rate, as components/coding/gain.py has them. */

import { BitstreamError } from "./errors";
import type { Integers } from "./integers";
import { rounded, UNIT } from "./network";

const FACTOR_UNIT = 2 ** 16;
const EXPONENT_UNIT = 2 ** 6;
const LARGEST_SHIFT = 20 * 256;

export interface Quantiser {
  /** Of each channel, in 2^-16. */
  gains: Float64Array;
  /** One over the gain, likewise. */
  steps: Float64Array;
  /** Logarithm of each channel's gain, in 1/256 of the distance between two Gaussian tables. */
  shifts: Float64Array;
}

/** The value in fixed point that a symbol stands for, less that of symbol zero. */
export function dequantised(symbol: number, step: number): number {
  return rounded(symbol * step, FACTOR_UNIT / UNIT);
}

export class Gains {
  private readonly exponents: ArrayLike<number>;
  private readonly factors: ArrayLike<number>;

  constructor(integers: Integers) {
    this.exponents = integers.get("gains.exponent").data;
    this.factors = integers.get("gains.factors").data;
  }

  quantiser(shift: number): Quantiser {
    const shifts = Float64Array.from(this.exponents, (exponent) =>
      Math.max(-LARGEST_SHIFT, Math.min(LARGEST_SHIFT, rounded(shift * exponent, EXPONENT_UNIT))),
    );
    const gains = shifts.map((each) => this.factors[each + LARGEST_SHIFT]!);
    const steps = gains.map((gain) => Math.floor((FACTOR_UNIT ** 2 + Math.floor(gain / 2)) / gain));
    return { gains, steps, shifts };
  }
}

/** The shift at the head of the only section, and the bytes after it. */
export function unpackShift(sections: Uint8Array[]): [number, Uint8Array] {
  const section = sections[0];
  if (sections.length !== 1 || !section || section.length < 2) {
    throw new BitstreamError("This file is damaged: one section with a gain was expected.");
  }
  const shift = ((section[0]! | (section[1]! << 8)) << 16) >> 16;
  if (Math.abs(shift) > LARGEST_SHIFT) throw new BitstreamError("This file is damaged: its gain is out of range.");
  return [shift, section.subarray(2)];
}
