/** The range decoder: constriction's queue coder with 24 bits of precision, as components/coding/range_coder.py uses it. */

import { BitstreamError } from "./errors";
import type { Kernel } from "./kernel";

const TOTAL = 2 ** 16; // the sum of a table's frequencies
const PRECISION = 2 ** 24;
const ESCAPE_RANGE = 2 ** 20;

/** A table of frequencies as the lower ends of its entries, in the kernel's memory. */
export class Table {
  readonly entries: number;
  readonly bounds: number;

  constructor(kernel: Kernel, frequencies: ArrayLike<number>) {
    this.entries = frequencies.length;
    this.bounds = kernel.allocate(4 * (this.entries + 1));
    let sum = 0;
    for (let entry = 0; entry < this.entries; entry++) {
      kernel.u32[(this.bounds >> 2) + entry] = bound(sum, entry, this.entries);
      sum += frequencies[entry]!;
    }
    kernel.u32[(this.bounds >> 2) + this.entries] = PRECISION;
  }
}

/** A table whose entries are computed where they are asked for. */
export interface Frequencies {
  /** The sum of the frequencies of all entries before one. */
  upTo(entry: number): number;
}

/** The lower end of an entry. All factors are whole and the product is below 2^53: constriction has the same. */
function bound(sum: number, entry: number, entries: number): number {
  return Math.floor((sum * (PRECISION - entries)) / TOTAL) + entry;
}

export class RangeDecoder {
  private readonly out: number;
  private readonly room: number;

  /**
   * @param data what the encoder wrote, in whole words.
   * @param room the most symbols that are asked for at once.
   */
  constructor(private readonly kernel: Kernel, data: Uint8Array, room: number) {
    if (data.length % 4) throw new BitstreamError("This file is damaged: its coded bytes are not whole words.");
    const at = kernel.allocate(data.length);
    this.room = room;
    this.out = kernel.allocate(4 * room);
    kernel.u8.set(data, at);
    kernel.run.open(at, data.length);
  }

  /** The next `count` symbols, of one table: a view that the next call overwrites. */
  symbols(count: number, table: Table): Int32Array {
    return this.read(count, this.kernel.run.decodeTable(table.bounds, table.entries, this.checked(count), this.out));
  }

  /** The next `count` values from 0 to size - 1, likewise. */
  uniform(count: number, size: number): Int32Array {
    return this.read(count, this.kernel.run.decodeUniform(size, this.checked(count), this.out));
  }

  /** The next `count` integers around zero: values that the table does not hold follow the others, in 21 bits each. */
  values(count: number, table: Table): Int32Array {
    const half = table.entries / 2 - 1;
    const values = this.symbols(count, table);
    let escaped = 0;
    for (let at = 0; at < count; at++) {
      const value = values[at]! - half;
      values[at] = value;
      if (value > half) escaped++;
    }
    return escaped ? this.withEscapes(values.slice(), half, escaped) : values;
  }

  /** The next symbol, of a table of its own with so many entries. */
  entry(entries: number, frequencies: Frequencies): number {
    const quantile = this.kernel.run.quantile();
    if (quantile < 0) throw invalidWord();
    let low = 0;
    let left = 0;
    let high = entries;
    let right = PRECISION;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      const edge = bound(frequencies.upTo(middle), middle, entries);
      if (edge <= quantile) [low, left] = [middle, edge];
      else [high, right] = [middle, edge];
    }
    this.kernel.run.narrow(left, right - left);
    return low;
  }

  /** The next `count` values that no table held. */
  escapes(count: number): Int32Array {
    const values = this.uniform(count, 2 * ESCAPE_RANGE);
    for (let at = 0; at < count; at++) values[at]! -= ESCAPE_RANGE;
    return values;
  }

  private withEscapes(values: Int32Array, half: number, escaped: number): Int32Array {
    const raw = this.escapes(escaped);
    let next = 0;
    for (let at = 0; at < values.length; at++) if (values[at]! > half) values[at] = raw[next++]!;
    return values;
  }

  private checked(count: number): number {
    if (count > this.room) throw new Error(`${count} symbols at once, with room for ${this.room}`);
    return count;
  }

  private read(count: number, valid: number): Int32Array {
    if (!valid) throw invalidWord();
    return this.kernel.i32.subarray(this.out >> 2, (this.out >> 2) + count);
  }
}

function invalidWord(): BitstreamError {
  return new BitstreamError("This file is damaged: its coded bytes hold an invalid word.");
}
