/** The formats that a stream is compared with, at its size. */

import type { Picture } from "./codec";
import { canvasOf, read, write } from "./pictures";
import { atSize, psnr } from "./quality";

export const FORMATS = [
  { name: "JPEG", type: "image/jpeg" },
  { name: "WebP", type: "image/webp" },
  { name: "AVIF", type: "image/avif" },
] as const;

export interface Rival {
  name: string;
  bytes: number;
  quality: number;
  psnr: number;
  picture: Picture;
}

/** A format at the size nearest to and not above `most` bytes, if it can be that small; null if the browser cannot write it. */
export async function rival(original: Picture, { name, type }: (typeof FORMATS)[number], most: number): Promise<Rival | null> {
  const canvas = canvasOf(original);
  if (!(await write(canvas, type, 50))) return null;
  const { file, quality } = await atSize(most, async (each) => (await write(canvas, type, each))!);
  const picture = await read(file);
  return { name, bytes: file.size, quality, psnr: psnr(original, picture), picture };
}
