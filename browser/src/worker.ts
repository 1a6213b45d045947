/** Decodes in a worker, so that the page stays alive. The first message opens the codec, the others are requests. */

import { Codec } from "./codec";
import { BitstreamError } from "./errors";
import { Kernel } from "./kernel";
import type { Answer, Opening, Request } from "./messages";
import { synthesis } from "./synthesis";
import { unpack } from "./unpack";

let codec: Promise<Codec> | undefined;

async function open({ model, kernel, runtime }: Opening): Promise<Codec> {
  const [module, ...rest] = await Promise.all([kernel, runtime, model.synthesis, model.integers].map(unpack));
  const [binary, network, integers] = rest as [Uint8Array<ArrayBuffer>, Uint8Array, Uint8Array];
  const transform = await synthesis(binary, network);
  return new Codec(model.description, integers, await Kernel.open(module!), transform);
}

async function answer({ id, wanted, stream }: Request): Promise<Answer> {
  try {
    const opened = await codec!;
    if (wanted === "latents") return { id, latents: opened.latents(stream) };
    const start = performance.now();
    const picture = await opened.decode(stream);
    return { id, picture, seconds: (performance.now() - start) / 1000 };
  } catch (error) {
    if (error instanceof BitstreamError) return { id, refusal: error.message };
    return { id, refusal: `The decoder failed: ${error instanceof Error ? error.message : error}` };
  }
}

self.addEventListener("message", async ({ data }: MessageEvent<Opening | Request>) => {
  if ("model" in data) {
    codec = open(data);
    codec.catch(() => undefined); // each request says why
  } else self.postMessage(await answer(data));
});
