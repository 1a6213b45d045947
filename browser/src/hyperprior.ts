/** Decoding with a hyperprior, equal to components/coding/hyperprior.py. */

import { ChannelTables } from "./channelTables";
import { GaussianConditional, MixtureConditional, type Conditional } from "./conditional";
import { contextModel, type ContextModel } from "./context";
import { BitstreamError } from "./errors";
import { Gains, unpackShift, type Quantiser } from "./gain";
import { grid, type Grid, type Positions } from "./grid";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { Network, rounded, UNIT } from "./network";
import { RangeDecoder } from "./rangeDecoder";

const STRIDE = 4; // latents to hyper-latents
const INVERSE_UNIT = 2 ** 16;

export interface HyperPriorStructure {
  h_s: string[];
  parameters: string[];
  groups: string[][];
  channels: number[];
  context: string;
  components: number;
}

/** Latents in the making: in fixed point, and less their running means and over their running scales. */
interface Latents {
  values: Grid;
  normalised: Grid;
}

export class HyperPriorDecoder {
  private readonly gains: Gains;
  private readonly prior: ChannelTables;
  private readonly conditional: Conditional;
  private readonly synthesis: Network;
  private readonly parameters: Network;
  private readonly groups: Network[];
  private readonly context: ContextModel;
  private readonly mean: Float64Array;
  private readonly inverse: Float64Array;
  private readonly offset: ArrayLike<number>;

  constructor(private readonly kernel: Kernel, private readonly structure: HyperPriorStructure, integers: Integers) {
    const context = contextModel(structure.context, kernel, integers);
    if (!context) throw new BitstreamError(`This page has no context model ${structure.context}.`);
    this.context = context;
    this.gains = new Gains(integers);
    this.prior = new ChannelTables(kernel, integers);
    this.conditional =
      structure.components === 1
        ? new GaussianConditional(kernel, integers)
        : new MixtureConditional(integers, structure.components);
    this.synthesis = new Network(kernel, integers, structure.h_s);
    this.parameters = new Network(kernel, integers, structure.parameters);
    this.groups = structure.groups.map((names) => new Network(kernel, integers, names));
    this.mean = Float64Array.from(integers.get("running.mean").data);
    this.inverse = Float64Array.from(integers.get("running.inverse_scale").data);
    this.offset = integers.get("offset").data;
  }

  /** The quantised latents in fixed point, (height, width, channels). */
  decode(sections: Uint8Array[], height: number, width: number): Grid {
    return this.kernel.within(() => {
      const [shift, data] = unpackShift(sections);
      const quantiser = this.gains.quantiser(shift);
      const channels = this.mean.length;
      const decoder = new RangeDecoder(this.kernel, data, height * width * Math.max(...this.structure.channels));
      const psi = this.synthesis.of(this.hyperLatents(decoder, height / STRIDE, width / STRIDE));
      const latents = { values: grid(height, width, channels), normalised: grid(height, width, channels) };
      this.context.passes(height, width).forEach((positions, pass) => {
        this.decodePass(decoder, quantiser, pass, positions, psi, latents);
      });
      return latents.values;
    });
  }

  private hyperLatents(decoder: RangeDecoder, height: number, width: number): Grid {
    const z = grid(height, width, this.prior.channels);
    for (let channel = 0; channel < z.channels; channel++) {
      const values = this.prior.decode(decoder, height * width, channel);
      for (let at = 0; at < values.length; at++) z.data[at * z.channels + channel] = values[at]! * UNIT;
    }
    return z;
  }

  private decodePass(
    decoder: RangeDecoder, quantiser: Quantiser, pass: number, positions: Positions, psi: Grid, latents: Latents,
  ): void {
    const { features: extra, mean } = this.context.known(
      pass, positions, latents.values, latents.normalised, this.mean,
    );
    const features = this.joined(positions, psi, psi.channels, list(positions, extra, this.context.features));
    const parameters = this.parameters.of({ ...features, data: features.data.slice() });
    const channels = this.mean.length;
    const [firstMean, endMean] = this.conditional.means;
    for (let at = 0; at < positions.rows.length; at++) {
      const line = at * parameters.channels;
      for (let each = 0; each < parameters.channels; each++) parameters.data[line + each]! += this.offset[each]!;
      if (!mean) continue;
      for (let set = firstMean; set < endMean; set++) {
        for (let each = 0; each < channels; each++) {
          parameters.data[line + set * channels + each]! += mean[at * channels + each]!;
        }
      }
    }
    let first = 0;
    this.structure.channels.forEach((size, group) => {
      const correction =
        group === 0
          ? null
          : this.groups[group - 1]!.of(this.joined(positions, latents.normalised, first, features)).data;
      const own = this.ofGroup(parameters, correction, first, size);
      const values = this.conditional.decode(decoder, own, quantiser, { first, count: positions.rows.length });
      this.store(values, positions, first, size, latents);
      first += size;
    });
  }

  /** Parameters of a group of channels: for each set (size, n), channel after channel. */
  private ofGroup(parameters: Grid, correction: Float64Array | null, first: number, size: number): Float64Array[] {
    const count = parameters.height;
    const { sets } = this.conditional;
    return Array.from({ length: sets }, (_, set) => {
      const values = new Float64Array(size * count);
      const column = set * this.mean.length + first;
      for (let at = 0; at < count; at++) {
        for (let channel = 0; channel < size; channel++) {
          let value = parameters.data[at * parameters.channels + column + channel]!;
          if (correction) value += correction[(at * sets + set) * size + channel]!;
          values[channel * count + at] = value;
        }
      }
      return values;
    });
  }

  private store(values: Float64Array, positions: Positions, first: number, size: number, latents: Latents): void {
    const count = positions.rows.length;
    for (let at = 0; at < count; at++) {
      const { width, channels } = latents.values;
      const place = (positions.rows[at]! * width + positions.columns[at]!) * channels + first;
      for (let channel = 0; channel < size; channel++) {
        const value = values[channel * count + at]!;
        const scaled = (value - this.mean[first + channel]!) * this.inverse[first + channel]!;
        latents.values.data[place + channel] = value;
        latents.normalised.data[place + channel] = rounded(scaled, INVERSE_UNIT);
      }
    }
  }

  /** The first `channels` of a grid at n positions, and after them those of a list: a list of n. */
  private joined(positions: Positions, x: Grid, channels: number, after: Grid): Grid {
    const count = positions.rows.length;
    const out = grid(count, 1, channels + after.channels);
    for (let at = 0; at < count; at++) {
      const source = (positions.rows[at]! * x.width + positions.columns[at]!) * x.channels;
      const target = at * out.channels;
      for (let each = 0; each < channels; each++) out.data[target + each] = x.data[source + each]!;
      for (let each = 0; each < after.channels; each++) {
        out.data[target + channels + each] = after.data[at * after.channels + each]!;
      }
    }
    return out;
  }
}

/** Values at n positions as a grid of one column. */
function list(positions: Positions, data: Float64Array, channels: number): Grid {
  return { height: positions.rows.length, width: 1, channels, data };
}
