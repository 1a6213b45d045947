/** Decoding with a factorized prior alone, equal to components/coding/factorized.py. */

import { ChannelTables } from "./channelTables";
import { BitstreamError } from "./errors";
import { dequantised, Gains, unpackShift } from "./gain";
import { grid, type Grid } from "./grid";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { rounded } from "./network";
import { RangeDecoder, Table } from "./rangeDecoder";

const GAIN_LEVEL_PER_SHIFT = 400;
const TOTAL = 2 ** 16;

export interface FactorizedStructure {
  channel_flags: boolean;
}

export class FactorizedDecoder {
  private readonly gains: Gains;
  private readonly prior: ChannelTables;

  constructor(private readonly kernel: Kernel, private readonly structure: FactorizedStructure, integers: Integers) {
    this.gains = new Gains(integers);
    this.prior = new ChannelTables(kernel, integers);
  }

  /** The quantised latents in fixed point, (height, width, channels). */
  decode(sections: Uint8Array[], height: number, width: number): Grid {
    return this.kernel.within(() => {
      const [shift, data] = unpackShift(sections);
      if (!data.length) throw new BitstreamError("This file is damaged: it ends in its header.");
      const offset = (data[0]! << 24) >> 24;
      const { steps, shifts } = this.gains.quantiser(shift);
      const { channels } = this.prior;
      const count = height * width;
      const decoder = new RangeDecoder(this.kernel, data.subarray(1), Math.max(count, channels));
      const isCoded = this.structure.channel_flags ? this.flags(decoder, channels) : null;
      const latents = grid(height, width, channels);
      for (let channel = 0; channel < channels; channel++) {
        if (isCoded && !isCoded[channel]) continue;
        const level = rounded(shifts[channel]! * GAIN_LEVEL_PER_SHIFT, 2 ** 16) + offset;
        const symbols = this.prior.decode(decoder, count, channel, level);
        for (let at = 0; at < count; at++) {
          latents.data[at * channels + channel] = dequantised(symbols[at]!, steps[channel]!);
        }
      }
      return latents;
    });
  }

  private flags(decoder: RangeDecoder, channels: number): Int32Array {
    const set = decoder.uniform(1, channels + 1)[0]!;
    const frequency = Math.min(TOTAL - 1, Math.max(1, Math.floor((TOTAL * set) / channels)));
    return decoder.symbols(channels, new Table(this.kernel, [TOTAL - frequency, frequency])).slice();
  }
}
