/** Pictures that were drawn, as few colours and an index map (components/codecs/palette.py). */

import { BitstreamError } from "./errors";
import { decodeIndices } from "./indexMap";

export const PALETTE_SECTIONS = 2;
const MOST_COLOURS = 64;

/** The picture as RGBA. */
export function decodePalette(sections: Uint8Array[], height: number, width: number): Uint8ClampedArray<ArrayBuffer> {
  const [colours, coded] = sections as [Uint8Array, Uint8Array];
  const count = colours.length / 3;
  if (!Number.isInteger(count) || count < 1 || count > MOST_COLOURS) {
    throw new BitstreamError("This file is damaged: it has no palette.");
  }
  const indices = decodeIndices(coded, height, width, 32 - Math.clz32(count - 1));
  const rgba = new Uint8ClampedArray(4 * indices.length);
  for (let at = 0; at < indices.length; at++) {
    const index = indices[at]!;
    if (index >= count) throw new BitstreamError("This file is damaged: a colour is not in its palette.");
    rgba[4 * at] = colours[3 * index]!;
    rgba[4 * at + 1] = colours[3 * index + 1]!;
    rgba[4 * at + 2] = colours[3 * index + 2]!;
    rgba[4 * at + 3] = 255;
  }
  return rgba;
}
