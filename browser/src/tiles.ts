/** The tiles of a large picture, as components/codecs/tile_grid.py cuts them. */

/** A stretch of one axis: from `start` to `end` of the input, and the part of it that its output is for. */
export interface Stretch {
  start: number;
  end: number;
  innerStart: number;
  innerEnd: number;
}

/** The tiles of an input as stretches of rows and of columns; one, if it is hardly larger than a tile. */
export function tiles(height: number, width: number, tile: number, halo: number): [Stretch[], Stretch[]] {
  if (Math.max(height, width) <= tile + halo) return [whole(height), whole(width)];
  return [stretches(height, tile, halo), stretches(width, tile, halo)];
}

function whole(length: number): Stretch[] {
  return [{ start: 0, end: length, innerStart: 0, innerEnd: length }];
}

function stretches(length: number, tile: number, halo: number): Stretch[] {
  return Array.from({ length: Math.ceil(length / tile) }, (_, at) => ({
    start: Math.max(0, at * tile - halo),
    end: Math.min(length, (at + 1) * tile + halo),
    innerStart: at * tile,
    innerEnd: Math.min(length, (at + 1) * tile),
  }));
}
