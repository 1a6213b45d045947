/** Pictures compared: PSNR, and other formats at a stream's size. */

import type { Picture } from "./codec";

/** PSNR in dB of two pictures of equal size, over red, green and blue; infinite if they are equal. */
export function psnr(one: Picture, other: Picture): number {
  let squares = 0;
  for (let at = 0; at < one.rgba.length; at++) {
    if ((at & 3) === 3) continue; // alpha
    const difference = one.rgba[at]! - other.rgba[at]!;
    squares += difference * difference;
  }
  const samples = (one.rgba.length / 4) * 3;
  return 10 * Math.log10((255 * 255 * samples) / squares);
}

export interface Encoding<File> {
  file: File;
  /** From 0 to 100. */
  quality: number;
}

/**
 * The file of the highest quality that is not above a size, by bisection; the smallest there is, if all are above it.
 *
 * @param encode writes a file of a quality from 0 to 100; sizes grow with it.
 */
export async function atSize<File extends { size: number }>(
  most: number, encode: (quality: number) => Promise<File>,
): Promise<Encoding<File>> {
  let best = { file: await encode(0), quality: 0 };
  if (best.file.size > most) return best;
  let above = 101;
  while (above - best.quality > 1) {
    const quality = (best.quality + above) >> 1;
    const file = await encode(quality);
    if (file.size <= most) best = { file, quality };
    else above = quality;
  }
  return best;
}
