/** A table for each channel and gain level, as components/coding/channel_tables.py has them. */

import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { Table, type RangeDecoder } from "./rangeDecoder";

export class ChannelTables {
  readonly channels: number;
  private readonly levels: number;
  private readonly tables: Table[][];

  constructor(kernel: Kernel, integers: Integers) {
    const { shape, data } = integers.get("prior");
    const [channels, levels, entries] = shape as [number, number, number];
    this.channels = channels;
    this.levels = (levels - 1) / 2;
    this.tables = Array.from({ length: channels }, (_, channel) =>
      Array.from({ length: levels }, (_, level) => {
        const first = (channel * levels + level) * entries;
        return new Table(kernel, data.subarray(first, first + entries));
      }),
    );
  }

  /** The next `count` symbols of a channel at a gain level, which is clipped to those that there are. */
  decode(decoder: RangeDecoder, count: number, channel: number, level = 0): Int32Array {
    const clipped = Math.max(-this.levels, Math.min(this.levels, level));
    return decoder.values(count, this.tables[channel]![clipped + this.levels]!);
  }
}
