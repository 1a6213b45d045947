/** Feature maps as the decoder holds them: all channels of a position lie together. */

export interface Grid {
  height: number;
  width: number;
  channels: number;
  /** (height, width, channels) */
  data: Float64Array;
}

export function grid(height: number, width: number, channels: number): Grid {
  return { height, width, channels, data: new Float64Array(height * width * channels) };
}

/** Positions of a grid, in the order in which they are coded. */
export interface Positions {
  rows: Int32Array;
  columns: Int32Array;
}

/** Every `stride`-th row and column from each (row, column) of `starts`, one lattice after another. */
export function lattices(height: number, width: number, stride: number, starts: [number, number][]): Positions {
  const each = (height / stride) * (width / stride);
  const rows = new Int32Array(each * starts.length);
  const columns = new Int32Array(each * starts.length);
  let at = 0;
  for (const [top, left] of starts) {
    for (let row = top; row < height; row += stride) {
      for (let column = left; column < width; column += stride, at++) {
        rows[at] = row;
        columns[at] = column;
      }
    }
  }
  return { rows, columns };
}

/** All positions, row after row. */
export function everywhere(height: number, width: number): Positions {
  return lattices(height, width, 1, [[0, 0]]);
}
