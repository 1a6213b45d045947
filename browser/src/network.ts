/** Convolutional networks in fixed point, equal to components/coding/fixed_point.py: whole numbers in float64. */

import { everywhere, grid, type Grid, type Positions } from "./grid";
import type { Integers } from "./integers";
import type { Kernel } from "./kernel";

export const UNIT = 256; // an activation of 1.0
const WEIGHT_UNIT = 2 ** 16;
export const LARGEST_ACTIVATION = 2 ** 18;
const ROWS = 64; // positions that are computed together

/** Row and column of a kernel's tap, from its middle. */
type IsKnown = (row: number, column: number) => boolean;
const ALL_TAPS: IsKnown = () => true;

/** x / unit, a power of two, rounded to the nearest integer, halves up. */
export function rounded(x: number, unit: number): number {
  return Math.floor((x + unit / 2) / unit);
}

/** A convolution of all channels, with those of its taps whose sources are known. */
export class Convolution {
  readonly outputs: number;
  private readonly inputs: number;
  private readonly taps: [number, number][] = [];
  private readonly inner: number;
  private readonly strips: number;
  private readonly weights: number;
  private readonly rounding: number;

  constructor(private readonly kernel: Kernel, integers: Integers, name: string, isKnown: IsKnown = ALL_TAPS) {
    const { shape, data } = integers.get(`${name}.weight`);
    const [outputs, inputs, side] = shape as [number, number, number, number];
    this.outputs = outputs;
    this.inputs = inputs;
    const half = (side - 1) / 2;
    for (let row = -half; row <= half; row++) {
      for (let column = -half; column <= half; column++) if (isKnown(row, column)) this.taps.push([row, column]);
    }
    this.inner = this.taps.length * inputs;
    this.strips = Math.ceil(outputs / 4);
    this.weights = kernel.allocate(this.strips * this.inner * 32);
    this.rounding = kernel.allocate(this.strips * 32);
    const bias = integers.get(`${name}.bias`).data;
    const { f64 } = kernel;
    for (let output = 0; output < 4 * this.strips; output++) {
      const inside = output < outputs;
      f64[(this.rounding >> 3) + output] = inside ? bias[output]! + WEIGHT_UNIT / 2 : 0;
      const strip = (this.weights >> 3) + (output >> 2) * this.inner * 4 + (output & 3);
      this.taps.forEach(([row, column], tap) => {
        const place = (row + half) * side + column + half;
        for (let input = 0; input < inputs; input++) {
          const weight = inside ? data[(output * inputs + input) * side * side + place]! : 0;
          f64[strip + (tap * inputs + input) * 4] = weight;
        }
      });
    }
  }

  /**
   * Activations (n, outputs) at n positions of a grid.
   *
   * @param step rows and columns between two taps.
   */
  at(x: Grid, { rows, columns }: Positions, step = 1): Float64Array {
    const { kernel, inner, outputs } = this;
    const count = rows.length;
    const result = new Float64Array(count * outputs);
    kernel.within(() => {
      const block = kernel.allocate(ROWS * inner * 8);
      const out = kernel.allocate(ROWS * this.strips * 32);
      const line = 4 * this.strips;
      for (let first = 0; first < count; first += ROWS) {
        const size = Math.min(ROWS, count - first);
        this.gather(x, rows, columns, first, size, step, block >> 3);
        kernel.run.convolve(block, Math.ceil(size / 4) * 4, inner, this.weights, this.rounding, this.strips, out);
        const { f64 } = kernel;
        for (let row = 0; row < size; row++) {
          const source = (out >> 3) + row * line;
          const target = (first + row) * outputs;
          for (let output = 0; output < outputs; output++) result[target + output] = f64[source + output]!;
        }
      }
    });
    return result;
  }

  /** The whole grid. */
  of(x: Grid): Grid {
    const { height, width } = x;
    return { height, width, channels: this.outputs, data: this.at(x, everywhere(height, width)) };
  }

  private gather(
    x: Grid, rows: Int32Array, columns: Int32Array, first: number, size: number, step: number, target: number,
  ): void {
    const { f64 } = this.kernel;
    const { inputs } = this;
    const { data } = x;
    for (let at = first; at < first + size; at++) {
      for (let tap = 0; tap < this.taps.length; tap++) {
        const row = rows[at]! + this.taps[tap]![0] * step;
        const column = columns[at]! + this.taps[tap]![1] * step;
        if (row < 0 || column < 0 || row >= x.height || column >= x.width) {
          for (let input = 0; input < inputs; input++) f64[target++] = 0;
        } else {
          const source = (row * x.width + column) * inputs;
          for (let input = 0; input < inputs; input++) f64[target++] = data[source + input]!;
        }
      }
    }
  }
}

/** A convolution of each channel by itself. */
export class DepthwiseConvolution {
  private readonly taps: { row: number; column: number; weights: Float64Array }[] = [];
  private readonly rounding: Float64Array;

  constructor(integers: Integers, name: string, isKnown: IsKnown) {
    const { shape, data } = integers.get(`${name}.weight`);
    const [channels, , side] = shape as [number, number, number, number];
    const half = (side - 1) / 2;
    for (let row = -half; row <= half; row++) {
      for (let column = -half; column <= half; column++) {
        if (!isKnown(row, column)) continue;
        const place = (row + half) * side + column + half;
        const weights = Float64Array.from({ length: channels }, (_, channel) => data[channel * side * side + place]!);
        this.taps.push({ row, column, weights });
      }
    }
    this.rounding = Float64Array.from(integers.get(`${name}.bias`).data, (bias) => bias + WEIGHT_UNIT / 2);
  }

  /** Activations (n, channels) at n positions of a grid less `mean`, zero outside. */
  at(x: Grid, { rows, columns }: Positions, step: number, mean: Float64Array): Float64Array {
    const { channels, data } = x;
    const result = new Float64Array(rows.length * channels);
    for (let at = 0; at < rows.length; at++) {
      const target = at * channels;
      for (let channel = 0; channel < channels; channel++) result[target + channel] = this.rounding[channel]!;
      for (const tap of this.taps) {
        const row = rows[at]! + tap.row * step;
        const column = columns[at]! + tap.column * step;
        if (row < 0 || column < 0 || row >= x.height || column >= x.width) continue;
        const source = (row * x.width + column) * channels;
        const { weights } = tap;
        for (let channel = 0; channel < channels; channel++) {
          result[target + channel]! += weights[channel]! * (data[source + channel]! - mean[channel]!);
        }
      }
      for (let channel = 0; channel < channels; channel++) {
        const whole = Math.floor(result[target + channel]! / WEIGHT_UNIT);
        result[target + channel] = Math.min(LARGEST_ACTIVATION, Math.max(-LARGEST_ACTIVATION, whole));
      }
    }
    return result;
  }
}

type Layer = (x: Grid) => Grid;

/** Layers in order: leaky, shuffle, gate, or convolutions by their names. */
export class Network {
  private readonly layers: Layer[];

  constructor(kernel: Kernel, integers: Integers, names: string[]) {
    this.layers = names.map((name) => {
      const without = WITHOUT_WEIGHTS[name];
      if (without) return without;
      const convolution = new Convolution(kernel, integers, name);
      return (x) => convolution.of(x);
    });
  }

  /** Activations to those of the last layer. The input is clamped in place, and may be overwritten. */
  of(x: Grid): Grid {
    clamp(x.data);
    return this.layers.reduce((result, layer) => layer(result), x);
  }
}

function clamp(values: Float64Array): void {
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    if (value > LARGEST_ACTIVATION) values[at] = LARGEST_ACTIVATION;
    else if (value < -LARGEST_ACTIVATION) values[at] = -LARGEST_ACTIVATION;
  }
}

/** With slope 1/8. */
function leakyRelu(x: Grid): Grid {
  const { data } = x;
  for (let at = 0; at < data.length; at++) {
    const value = data[at]!;
    if (value < 0) data[at] = Math.floor(value * 0.125);
  }
  return x;
}

/** 4 C channels to C of twice the height and width. */
function pixelShuffle(x: Grid): Grid {
  const out = grid(2 * x.height, 2 * x.width, x.channels / 4);
  const { channels } = out;
  for (let row = 0; row < out.height; row++) {
    for (let column = 0; column < out.width; column++) {
      const source = ((row >> 1) * x.width + (column >> 1)) * x.channels + (row & 1) * 2 + (column & 1);
      const target = (row * out.width + column) * channels;
      for (let channel = 0; channel < channels; channel++) out.data[target + channel] = x.data[source + 4 * channel]!;
    }
  }
  return out;
}

/** Values, then masks: each value times its mask + 1/2, from 0 to 1. */
function gate(x: Grid): Grid {
  const out = grid(x.height, x.width, x.channels / 2);
  const { channels } = out;
  for (let at = 0; at < out.data.length; at++) {
    const source = Math.floor(at / channels) * x.channels + (at % channels);
    const mask = Math.min(UNIT, Math.max(0, x.data[source + channels]! + UNIT / 2));
    out.data[at] = rounded(x.data[source]! * mask, UNIT);
  }
  return out;
}

const WITHOUT_WEIGHTS: Record<string, Layer> = { leaky: leakyRelu, shuffle: pixelShuffle, gate };
