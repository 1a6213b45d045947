/** Latents given the distributions of their symbols, as components/coding/conditional.py has them. */

import { dequantised, type Quantiser } from "./gain";
import { GaussianTables, tableIndex } from "./gaussianTables";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { MixtureTables } from "./mixtureTables";
import { rounded } from "./network";
import type { RangeDecoder } from "./rangeDecoder";

/** The latents of some channels in one pass: `first` channel, and `count` elements of each. */
export interface Slice {
  first: number;
  count: number;
}

export interface Conditional {
  /** Parameters of each latent. */
  sets: number;
  /** Those of them, from the first to before the second number, that are means of latents. */
  means: [number, number];
  /**
   * The next latents in fixed point.
   *
   * @param parameters for each set its value for each element, channel after channel.
   */
  decode(decoder: RangeDecoder, parameters: Float64Array[], quantiser: Quantiser, slice: Slice): Float64Array;
}

/** A Gaussian for each element; its symbol is the distance from the mean. Parameters: mean, logarithm of the scale. */
export class GaussianConditional implements Conditional {
  readonly sets = 2;
  readonly means: [number, number] = [0, 1];
  private readonly tables: GaussianTables;

  constructor(kernel: Kernel, integers: Integers) {
    this.tables = new GaussianTables(kernel, integers);
  }

  decode(decoder: RangeDecoder, parameters: Float64Array[], quantiser: Quantiser, slice: Slice): Float64Array {
    const [means, logScales] = parameters as [Float64Array, Float64Array];
    const symbols = this.tables.decode(decoder, scalesOf(logScales, quantiser, slice));
    const latents = new Float64Array(symbols.length);
    for (let at = 0; at < latents.length; at++) {
      const step = quantiser.steps[slice.first + Math.floor(at / slice.count)]!;
      latents[at] = means[at]! + dequantised(symbols[at]!, step);
    }
    return latents;
  }
}

/** A mixture of Gaussians for each element. Parameters: logits of the weights, means, logarithms of the scales. */
export class MixtureConditional implements Conditional {
  readonly sets: number;
  readonly means: [number, number];
  private readonly tables: MixtureTables;

  constructor(integers: Integers, private readonly components: number) {
    this.sets = 3 * components;
    this.means = [components, 2 * components];
    this.tables = new MixtureTables(integers);
  }

  decode(decoder: RangeDecoder, parameters: Float64Array[], quantiser: Quantiser, slice: Slice): Float64Array {
    const [first, end] = this.means;
    const means = parameters.slice(first, end).map((each) =>
      each.map((mean, at) => rounded(mean * quantiser.gains[slice.first + Math.floor(at / slice.count)]!, 2 ** 16)),
    );
    const scales = parameters.slice(end).map((each) => scalesOf(each, quantiser, slice));
    const symbols = this.tables.decode(decoder, parameters.slice(0, this.components), means, scales);
    return Float64Array.from(symbols, (symbol, at) =>
      dequantised(symbol, quantiser.steps[slice.first + Math.floor(at / slice.count)]!),
    );
  }
}

function scalesOf(logScales: Float64Array, quantiser: Quantiser, { first, count }: Slice): Uint8Array {
  const scales = new Uint8Array(logScales.length);
  for (let at = 0; at < scales.length; at++) {
    scales[at] = tableIndex(logScales[at]!, quantiser.shifts[first + Math.floor(at / count)]!);
  }
  return scales;
}
