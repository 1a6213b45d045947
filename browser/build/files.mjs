// What both builds share.

import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

export const HERE = dirname(import.meta.dirname);

/** A file as base64 of gzip, for scripts that src/unpack.ts reads. */
export function packed(content) {
  return gzipSync(content, { level: 9 }).toString("base64");
}

/** Write a file into a folder, by default dist/, and say its size. */
export async function put(name, content, folder = join(HERE, "dist")) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `.${name}`), content);
  await rename(join(folder, `.${name}`), join(folder, name));
  console.log(`${join(folder, name)}: ${(Buffer.byteLength(content) / 1e6).toFixed(1)} MB`);
}

/** Run a build with the arguments of the command line. An error is one line. */
export async function main(build) {
  try {
    await build(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 2;
  }
}
