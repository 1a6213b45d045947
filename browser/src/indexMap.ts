/**
 * Lossless decoding of index maps, as components/entropy/pixels/index_coder.py codes them.
 *
 * A map is cut into tiles, and row r of a tile is LAG columns behind row r - 1: what lies on one front, in every tile,
 * is decoded together.
 */

import { AdaptiveBits } from "./adaptiveBits";
import { LaneDecoder } from "./lanes";

const LAG = 2;
const TILE_ROWS = 64;
const TILE_COLUMNS = 256;
const ABOVE = 2; // context pixels around a tile
const LEFT = 2;
const RIGHT = 1;
const PIXELS_PER_LANE = 2 ** 13;
const MOST_LANES = 128;
const ORDERS = 4; // contexts of an equality
const BIT_ORDERS = 3; // contexts of a bit of an index
const IS_LEFT = 0;
const IS_ABOVE = 1;

/** A map of `height` times `width` numbers below 2^bits. */
export function decodeIndices(data: Uint8Array, height: number, width: number, bits: number): Uint8Array {
  const lanes = Math.min(MOST_LANES, Math.max(1, Math.floor((height * width) / PIXELS_PER_LANE)));
  const tiles = new Tiles(height, width);
  const decoder = new LaneDecoder(lanes, data);
  const fronts = new FrontDecoder(tiles, decoder, bits);
  tiles.fronts((pixels, count) => fronts.decode(pixels, count));
  decoder.finish();
  return tiles.indices();
}

/** The bits of some pixels, with their contexts and probabilities. */
class Decisions {
  readonly bits: Uint8Array;
  private readonly frequencies: Uint16Array;
  readonly contexts: Uint32Array[];

  constructor(private readonly model: AdaptiveBits, orders: number, private readonly decoder: LaneDecoder, most: number) {
    this.bits = new Uint8Array(most);
    this.frequencies = new Uint16Array(most);
    this.contexts = Array.from({ length: orders }, () => new Uint32Array(most));
  }

  /** Decode `count` bits in the contexts. */
  decode(count: number): Uint8Array {
    this.model.estimate(this.contexts, count, this.frequencies);
    this.decoder.decode(this.frequencies, count, this.bits);
    this.model.update(this.contexts, count, this.bits);
    return this.bits;
  }
}

class FrontDecoder {
  private readonly neighbourhoods: Uint32Array[];
  private readonly isLeft: Decisions;
  private readonly isAbove: Decisions;
  private readonly index: Decisions;
  private readonly asked: Int32Array;
  private readonly unlike: Int32Array;
  private readonly partial: Uint32Array;

  constructor(private readonly tiles: Tiles, decoder: LaneDecoder, private readonly bitsOfIndex: number) {
    const most = tiles.longestFront;
    const equalities = new AdaptiveBits(ORDERS);
    this.neighbourhoods = Array.from({ length: ORDERS }, () => new Uint32Array(most));
    this.isLeft = new Decisions(equalities, ORDERS, decoder, most);
    this.isAbove = new Decisions(equalities, ORDERS, decoder, most);
    this.index = new Decisions(new AdaptiveBits(BIT_ORDERS), BIT_ORDERS, decoder, most);
    this.asked = new Int32Array(most);
    this.unlike = new Int32Array(most);
    this.partial = new Uint32Array(most);
  }

  /** Decode the pixels of a front, at `count` places of the tiles. */
  decode(pixels: Int32Array, count: number): void {
    const { values, stride } = this.tiles;
    this.lookAround(pixels, count);
    for (let order = 0; order < ORDERS; order++) {
      const from = this.neighbourhoods[order]!;
      const to = this.isLeft.contexts[order]!;
      for (let at = 0; at < count; at++) to[at] = from[at]! * 4 + IS_LEFT;
    }
    const isLeft = this.isLeft.decode(count);
    let asked = 0;
    for (let at = 0; at < count; at++) {
      const pixel = pixels[at]!;
      if (!isLeft[at] && values[pixel - 1] !== values[pixel - stride]) {
        for (let order = 0; order < ORDERS; order++) {
          this.isAbove.contexts[order]![asked] = this.neighbourhoods[order]![at]! * 4 + IS_ABOVE;
        }
        this.asked[asked++] = at;
      }
    }
    const isAbove = this.isAbove.decode(asked);
    let next = 0;
    let unlike = 0;
    for (let at = 0; at < count; at++) {
      const pixel = pixels[at]!;
      if (isLeft[at]) values[pixel] = values[pixel - 1]!;
      else if (next < asked && this.asked[next] === at) {
        if (isAbove[next++]) values[pixel] = values[pixel - stride]!;
        else this.unlike[unlike++] = pixel;
      } else this.unlike[unlike++] = pixel;
    }
    this.decodeIndices(unlike);
  }

  private decodeIndices(count: number): void {
    const { values, stride } = this.tiles;
    const contexts = this.index.contexts;
    this.partial.fill(1, 0, count);
    for (let bit = this.bitsOfIndex - 1; bit >= 0; bit--) {
      for (let at = 0; at < count; at++) {
        const pixel = this.unlike[at]!;
        const pair = values[pixel - 1]! + 1;
        const partial = this.partial[at]!;
        contexts[0]![at] = partial;
        contexts[1]![at] = pair * 256 + partial;
        contexts[2]![at] = (pair * 257 + values[pixel - stride]!) * 256 + partial;
      }
      const bits = this.index.decode(count);
      for (let at = 0; at < count; at++) this.partial[at] = 2 * this.partial[at]! + bits[at]!;
    }
    for (let at = 0; at < count; at++) values[this.unlike[at]!] = this.partial[at]! - 2 ** this.bitsOfIndex;
  }

  /** The contexts of pixels, from what is equal among their neighbours to which the six nearest are. */
  private lookAround(pixels: Int32Array, count: number): void {
    const { values, stride } = this.tiles;
    const [patterns, twos, fours, sixes] = this.neighbourhoods as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
    for (let at = 0; at < count; at++) {
      const pixel = pixels[at]!;
      const left = values[pixel - 1]!;
      const above = values[pixel - stride]!;
      const aboveLeft = values[pixel - stride - 1]!;
      const aboveRight = values[pixel - stride + 1]!;
      const left2 = values[pixel - 2]!;
      const above2 = values[pixel - 2 * stride]!;
      const pattern =
        (+(left === above) << 6) | (+(left === aboveLeft) << 5) | (+(above === aboveLeft) << 4) |
        (+(above === aboveRight) << 3) | (+(left === left2) << 2) | (+(above === above2) << 1) | +(left === aboveRight);
      const two = (left << 8) | above;
      const four = mixed(two, (aboveLeft << 8) | aboveRight);
      patterns[at] = pattern;
      twos[at] = mixed(two, pattern);
      fours[at] = four;
      sixes[at] = mixed(four, (left2 << 8) | above2);
    }
  }
}

/** Two contexts as one, by a hash of 32 bits. */
function mixed(context: number, further: number): number {
  const hash = Math.imul(context ^ Math.imul(further, 40503), 2246822519);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** An index map as tiles with a border of zeros. */
class Tiles {
  readonly stride: number;
  readonly values: Uint8Array;
  readonly longestFront: number;
  private readonly rows: number;
  private readonly columns: number;
  private readonly down: number;
  private readonly across: number;
  private readonly size: number; // of a tile, with its border

  constructor(private readonly height: number, private readonly width: number) {
    this.rows = Math.ceil(height / Math.ceil(height / TILE_ROWS));
    this.columns = Math.ceil(width / Math.ceil(width / TILE_COLUMNS));
    this.down = Math.ceil(height / this.rows);
    this.across = Math.ceil(width / this.columns);
    this.stride = LEFT + this.columns + RIGHT;
    this.size = (ABOVE + this.rows) * this.stride;
    this.values = new Uint8Array(this.down * this.across * this.size);
    this.longestFront = this.down * this.across * this.rows;
  }

  /** Each front in order: the places of its pixels, tile after tile, and how many there are. */
  fronts(each: (pixels: Int32Array, count: number) => void): void {
    const pixels = new Int32Array(this.longestFront);
    const tiles = this.down * this.across;
    for (let time = 0; time < this.columns + LAG * (this.rows - 1); time++) {
      const first = Math.max(0, Math.ceil((time - this.columns + 1) / LAG));
      const last = Math.min(this.rows - 1, Math.floor(time / LAG));
      let count = 0;
      for (let tile = 0; tile < tiles; tile++) {
        for (let row = first; row <= last; row++) {
          pixels[count++] = tile * this.size + (ABOVE + row) * this.stride + LEFT + time - LAG * row;
        }
      }
      if (count) each(pixels, count);
    }
  }

  /** The map without borders. */
  indices(): Uint8Array {
    const out = new Uint8Array(this.height * this.width);
    for (let row = 0; row < this.height; row++) {
      const inTile = (ABOVE + (row % this.rows)) * this.stride + LEFT;
      const firstTile = Math.floor(row / this.rows) * this.across;
      for (let column = 0; column < this.width; column++) {
        const tile = firstTile + Math.floor(column / this.columns);
        out[row * this.width + column] = this.values[tile * this.size + inTile + (column % this.columns)]!;
      }
    }
    return out;
  }
}
