/** The worker as functions of the page. */

import kernel from "built:kernel";
import runtime from "built:runtime";
import source from "built:worker";
import type { Picture } from "./codec";
import { BitstreamError } from "./errors";
import type { Answer, Model, Opening, Request } from "./messages";

export interface Decoded {
  picture: Picture;
  /** That decoding took, without loading. */
  seconds: number;
}

export class Decoder {
  private readonly worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private requests = 0;

  constructor(model: Model) {
    this.worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      this.waiting.get(data.id)?.(data);
      this.waiting.delete(data.id);
    });
    this.worker.postMessage({ model, kernel, runtime } satisfies Opening);
  }

  /** The picture in a bitstream. Rejects with BitstreamError. */
  async decode(stream: Uint8Array): Promise<Decoded> {
    const answer = await this.ask("picture", stream);
    if (!("picture" in answer)) throw new Error("the worker gave no picture");
    return answer;
  }

  /** The quantised latents (C, h, w) in a bitstream. Rejects with BitstreamError. */
  async latents(stream: Uint8Array): Promise<Float64Array> {
    const answer = await this.ask("latents", stream);
    if (!("latents" in answer)) throw new Error("the worker gave no latents");
    return answer.latents;
  }

  private async ask(wanted: Request["wanted"], stream: Uint8Array): Promise<Answer> {
    const id = this.requests++;
    const answer = await new Promise<Answer>((resolve) => {
      this.waiting.set(id, resolve);
      this.worker.postMessage({ id, wanted, stream } satisfies Request);
    });
    if ("refusal" in answer) throw new BitstreamError(answer.refusal);
    return answer;
  }
}
