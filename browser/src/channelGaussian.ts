/** Decoding with a mean and a scale for each channel of each picture, equal to components/coding/channel_gaussian.py. */

import { BitstreamError } from "./errors";
import { FRACTIONS, GaussianTables, SCALES } from "./gaussianTables";
import { grid, type Grid } from "./grid";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { UNIT } from "./network";
import { RangeDecoder } from "./rangeDecoder";

export class ChannelGaussianDecoder {
  private readonly tables: GaussianTables;
  private readonly scale: ArrayLike<number>;
  private readonly mean: ArrayLike<number>;

  constructor(private readonly kernel: Kernel, integers: Integers) {
    this.tables = new GaussianTables(kernel, integers);
    this.scale = integers.get("scale").data;
    this.mean = integers.get("mean").data;
  }

  /** The quantised latents, of which one is UNIT as in fixed point, (height, width, channels). */
  decode(sections: Uint8Array[], height: number, width: number): Grid {
    const section = sections[0];
    if (sections.length !== 1 || !section || section.length < 4) {
      throw new BitstreamError("This file is damaged: one section with a gain was expected.");
    }
    const gain = new DataView(section.buffer, section.byteOffset).getFloat32(0, true);
    if (!(Number.isFinite(gain) && gain > 0)) {
      throw new BitstreamError("This file is damaged: its gain is not a positive number.");
    }
    return this.kernel.within(() => {
      const channels = this.scale.length;
      const count = height * width;
      const decoder = new RangeDecoder(this.kernel, section.subarray(4), Math.max(count, channels));
      const shift = decoder.uniform(1, 2 * SCALES + 1)[0]! - SCALES;
      const scales = this.side(decoder, this.scale, shift);
      const means = this.side(decoder, this.mean, 0);
      if (scales.some((scale) => scale < 0 || scale >= SCALES)) {
        throw new BitstreamError("This file is damaged: a channel names a table that does not exist.");
      }
      const latents = grid(height, width, channels);
      for (let channel = 0; channel < channels; channel++) {
        const shifted = means[channel]! + FRACTIONS / 2;
        const whole = Math.floor(shifted / FRACTIONS);
        const table = this.tables.table(scales[channel]!, shifted - FRACTIONS * whole);
        const symbols = decoder.values(count, table);
        for (let at = 0; at < count; at++) {
          latents.data[at * channels + channel] = Math.fround((symbols[at]! + whole) / gain) * UNIT;
        }
      }
      return latents;
    });
  }

  private side(decoder: RangeDecoder, expected: ArrayLike<number>, shift: number): Int32Array {
    const table = this.tables.table(decoder.uniform(1, SCALES)[0]!);
    const deltas = decoder.values(expected.length, table);
    return Int32Array.from(expected, (value, at) => value + shift + deltas[at]!);
  }
}
