// Builds model.js, the codec of the page, from a folder that `ratewright export` wrote.
//
//     node build/model.mjs EXPORTED [FOLDER]    into dist/ by default

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { main, packed, put } from "./files.mjs";

const FORMAT = 1; // of exported folders

async function model(folder) {
  const description = JSON.parse(await readFile(join(folder, "codec.json"), "utf8"));
  if (description.format !== FORMAT) throw new Error(`${folder}: an export of format ${description.format}, not ${FORMAT}`);
  const checked = async (name) => {
    const content = await readFile(join(folder, name));
    if (createHash("sha256").update(content).digest("hex") !== description.files[name]) {
      throw new Error(`${folder}: ${name} is not the file that was exported`);
    }
    return packed(content);
  };
  const files = { integers: await checked("integers.safetensors"), synthesis: await checked("synthesis.onnx") };
  return `globalThis.ratewrightModel = ${JSON.stringify({ description, ...files })};\n`;
}

main(async ([exported, folder]) => {
  if (!exported) throw new Error("which exported codec? make browser CODEC=folder");
  await put("model.js", await model(exported), folder);
});
