/** The synthesis transform by ONNX Runtime, compiled to WebAssembly, on one thread. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import type { Synthesis } from "./codec";

/**
 * @param runtime the module of ONNX Runtime.
 * @param network synthesis.onnx.
 */
export async function synthesis(runtime: Uint8Array<ArrayBuffer>, network: Uint8Array): Promise<Synthesis> {
  env.wasm.wasmBinary = runtime.buffer;
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  const session = await InferenceSession.create(network, { executionProviders: ["wasm"] });
  return async (y, channels, height, width) => {
    const input = new Tensor("float32", y, [1, channels, height, width]);
    const { output } = await session.run({ input });
    return output!.data as Float32Array;
  };
}
