/** An exported codec in a browser: a bitstream to its latents and its picture. */

import { ChannelGaussianDecoder } from "./channelGaussian";
import { parse, type Bitstream } from "./container";
import { BitstreamError } from "./errors";
import { FactorizedDecoder, type FactorizedStructure } from "./factorized";
import type { Grid } from "./grid";
import { HyperPriorDecoder, type HyperPriorStructure } from "./hyperprior";
import { Integers } from "./integers";
import type { Kernel } from "./kernel";
import { UNIT } from "./network";
import { decodePalette, PALETTE_SECTIONS } from "./palette";
import { tiles } from "./tiles";

/** What the page needs of codec.json. */
export interface Description {
  codec: string;
  model_hash: string;
  stride: number;
  latent_stride: number;
  tile: number;
  halo: number;
  palettes: boolean;
  coder: string;
  structure: unknown;
}

/** The transform x_hat (1, 3, H, W) of y_hat (1, C, h, w). */
export type Synthesis = (y: Float32Array, channels: number, height: number, width: number) => Promise<Float32Array>;

interface LatentDecoder {
  decode(sections: Uint8Array[], height: number, width: number): Grid;
}

export interface Picture {
  width: number;
  height: number;
  rgba: Uint8ClampedArray<ArrayBuffer>;
}

export class Codec {
  private readonly decoder: LatentDecoder;

  constructor(
    readonly description: Description,
    integers: Uint8Array,
    kernel: Kernel,
    private readonly synthesis: Synthesis,
  ) {
    this.decoder = latentDecoder(description, new Integers(integers), kernel);
  }

  /** The picture in a bitstream. Throws BitstreamError. */
  async decode(data: Uint8Array): Promise<Picture> {
    const stream = this.parsed(data);
    const { width, height } = stream;
    if (this.hasPalette(stream)) return { width, height, rgba: decodePalette(stream.sections, height, width) };
    const rgba = await this.synthesised(this.quantised(stream), height, width);
    return { width, height, rgba };
  }

  /** The quantised latents (C, h, w) of a bitstream, equal on every machine. Throws BitstreamError. */
  latents(data: Uint8Array): Float64Array {
    const stream = this.parsed(data);
    if (this.hasPalette(stream)) throw new BitstreamError("This file holds a palette and no latents.");
    const { height, width, channels, data: values } = this.quantised(stream);
    const out = new Float64Array(values.length);
    for (let at = 0; at < height * width; at++) {
      for (let channel = 0; channel < channels; channel++) {
        out[channel * height * width + at] = values[at * channels + channel]! / UNIT;
      }
    }
    return out;
  }

  private parsed(data: Uint8Array): Bitstream {
    const stream = parse(data);
    const { codec, model_hash } = this.description;
    if (stream.codec !== codec) {
      throw new BitstreamError(`This file was written by codec ${stream.codec}. This page reads files of ${codec}.`);
    }
    if (stream.modelHash !== model_hash) {
      throw new BitstreamError(`This file was written by model ${stream.modelHash}. This page has model ${model_hash}.`);
    }
    return stream;
  }

  private hasPalette(stream: Bitstream): boolean {
    return this.description.palettes && stream.sections.length === PALETTE_SECTIONS;
  }

  private quantised({ sections, width, height }: Bitstream): Grid {
    const { stride, latent_stride } = this.description;
    const perStride = stride / latent_stride;
    return this.decoder.decode(sections, Math.ceil(height / stride) * perStride, Math.ceil(width / stride) * perStride);
  }

  /** A picture of latents, in tiles where it is large. */
  private async synthesised(y: Grid, height: number, width: number): Promise<Uint8ClampedArray<ArrayBuffer>> {
    const { latent_stride, tile, halo } = this.description;
    const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
    const [down, across] = tiles(y.height, y.width, tile / latent_stride, halo / latent_stride);
    for (const rows of down) {
      for (const columns of across) {
        const pieceHeight = rows.end - rows.start;
        const pieceWidth = columns.end - columns.start;
        const piece = cut(y, rows.start, columns.start, pieceHeight, pieceWidth);
        const x = await this.synthesis(piece, y.channels, pieceHeight, pieceWidth);
        const top = rows.innerStart * latent_stride;
        const left = columns.innerStart * latent_stride;
        const bottom = Math.min(height, rows.innerEnd * latent_stride);
        const right = Math.min(width, columns.innerEnd * latent_stride);
        const firstRow = rows.start * latent_stride;
        const firstColumn = columns.start * latent_stride;
        const line = pieceWidth * latent_stride;
        const plane = line * pieceHeight * latent_stride;
        let total = 0;
        for (let row = top; row < bottom; row++) {
          let source = (row - firstRow) * line + left - firstColumn;
          let target = 4 * (row * width + left);
          for (let column = left; column < right; column++, source++, target += 4) {
            const red = x[source]!;
            const green = x[plane + source]!;
            const blue = x[2 * plane + source]!;
            total += red + green + blue;
            rgba[target] = 255 * red; // clamped, and rounded to the nearest integer, halves to even
            rgba[target + 1] = 255 * green;
            rgba[target + 2] = 255 * blue;
          }
        }
        if (!Number.isFinite(total)) {
          throw new BitstreamError("This file is damaged: its latents are too large to make a picture.");
        }
      }
    }
    return rgba;
  }
}

function latentDecoder({ coder, structure }: Description, integers: Integers, kernel: Kernel): LatentDecoder {
  if (coder === "hyperprior") return new HyperPriorDecoder(kernel, structure as HyperPriorStructure, integers);
  if (coder === "factorized") return new FactorizedDecoder(kernel, structure as FactorizedStructure, integers);
  if (coder === "channel_gaussian") return new ChannelGaussianDecoder(kernel, integers);
  throw new BitstreamError(`This page has no decoder of kind ${coder}.`);
}

/** A piece of latents (C, h, w) in float32. */
function cut(y: Grid, top: number, left: number, height: number, width: number): Float32Array {
  const { channels } = y;
  const out = new Float32Array(channels * height * width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const source = ((top + row) * y.width + left + column) * channels;
      const target = row * width + column;
      for (let channel = 0; channel < channels; channel++) {
        out[channel * height * width + target] = y.data[source + channel]! / UNIT;
      }
    }
  }
  return out;
}
