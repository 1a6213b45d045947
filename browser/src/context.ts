/** The passes in which latents are coded, and what each knows, as components/coding/context.py has them. */

import { lattices, type Grid, type Positions } from "./grid";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { Convolution, DepthwiseConvolution } from "./network";

/** What a pass knows: features (n, F), and offsets of means (n, C) or none. */
export interface Known {
  features: Float64Array;
  mean: Float64Array | null;
}

export interface ContextModel {
  /** How many features it adds. */
  features: number;
  passes(height: number, width: number): Positions[];
  /**
   * @param latents of the passes before.
   * @param normalised the same, less their running means and over their running scales.
   * @param mean the running means.
   */
  known(pass: number, positions: Positions, latents: Grid, normalised: Grid, mean: Float64Array): Known;
}

const isDiagonal = (row: number, column: number) => row % 2 !== 0 && column % 2 !== 0;
const isBeside = (row: number, column: number) => (row + column) % 2 !== 0;

class NoContext implements ContextModel {
  readonly features = 0;

  passes(height: number, width: number): Positions[] {
    return [lattices(height, width, 1, [[0, 0]])];
  }

  known(): Known {
    return { features: new Float64Array(0), mean: null };
  }
}

class CheckerboardContext implements ContextModel {
  readonly features: number;
  private readonly network: Convolution;

  constructor(kernel: Kernel, integers: Integers) {
    this.network = new Convolution(kernel, integers, "context.0", isBeside);
    this.features = this.network.outputs;
  }

  passes(height: number, width: number): Positions[] {
    return [
      lattices(height, width, 2, [[0, 0], [1, 1]]),
      lattices(height, width, 2, [[0, 1], [1, 0]]),
    ];
  }

  known(pass: number, positions: Positions, _: Grid, normalised: Grid): Known {
    const features = pass
      ? this.network.at(normalised, positions)
      : new Float64Array(positions.rows.length * this.features);
    return { features, mean: null };
  }
}

class HierarchicalContext implements ContextModel {
  readonly features: number;
  private readonly first: ArrayLike<number>;
  private readonly networks: Convolution[];
  private readonly predictions: DepthwiseConvolution[];

  constructor(kernel: Kernel, integers: Integers) {
    this.first = integers.get("context.first").data;
    this.features = this.first.length;
    const sources = [isDiagonal, isBeside, isDiagonal, isBeside];
    this.networks = sources.map((known, at) => new Convolution(kernel, integers, `context.networks.${at}`, known));
    this.predictions = sources.map(
      (known, at) => new DepthwiseConvolution(integers, `context.predictions.${at}`, known),
    );
  }

  passes(height: number, width: number): Positions[] {
    return [
      lattices(height, width, 4, [[0, 0]]),
      lattices(height, width, 4, [[2, 2]]),
      lattices(height, width, 4, [[0, 2], [2, 0]]),
      lattices(height, width, 2, [[1, 1]]),
      lattices(height, width, 2, [[0, 1], [1, 0]]),
    ];
  }

  known(pass: number, positions: Positions, latents: Grid, normalised: Grid, mean: Float64Array): Known {
    if (pass === 0) {
      const features = new Float64Array(positions.rows.length * this.features);
      for (let at = 0; at < features.length; at++) features[at] = this.first[at % this.features]!;
      return { features, mean: null };
    }
    const step = pass < 3 ? 2 : 1;
    return {
      features: this.networks[pass - 1]!.at(normalised, positions, step),
      mean: this.predictions[pass - 1]!.at(latents, positions, step, mean),
    };
  }
}

/** The context model of that name, or none. */
export function contextModel(kind: string, kernel: Kernel, integers: Integers): ContextModel | null {
  if (kind === "none") return new NoContext();
  if (kind === "checkerboard") return new CheckerboardContext(kernel, integers);
  return kind === "hierarchical" ? new HierarchicalContext(kernel, integers) : null;
}
