/** Pictures and the browser's own formats. */

import type { Picture } from "./codec";

/** A canvas that shows a picture. */
export function canvasOf({ width, height, rgba }: Picture): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

/** The picture in a file of a format that the browser reads. Rejects if it is none. */
export async function read(file: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, rgba: context.getImageData(0, 0, width, height).data as Uint8ClampedArray<ArrayBuffer> };
}

/** A file of a format and a quality from 0 to 100; null if the browser does not write that format. */
export async function write(canvas: HTMLCanvasElement, type: string, quality?: number): Promise<Blob | null> {
  const blob = await new Promise<Blob | null>((resolve) => {
    canvas.toBlob(resolve, type, quality === undefined ? undefined : quality / 100);
  });
  return blob?.type === type ? blob : null; // a browser writes PNG instead of what it does not know
}
