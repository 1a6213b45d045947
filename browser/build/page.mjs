// Builds the page: index.html, which holds everything but the codec.
//
//     node build/page.mjs [FOLDER]    into dist/ by default

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import asc from "assemblyscript/asc";
import { build } from "esbuild";
import { HERE, main, packed, put } from "./files.mjs";

const RUNTIME = "ort-wasm-simd-threaded.wasm";
const BROWSERS = ["chrome109", "firefox115", "safari16.4"];

async function kernel() {
  const folder = await mkdtemp(join(tmpdir(), "kernel-"));
  const file = join(folder, "kernel.wasm");
  const options = ["-O3", "--runtime", "stub", "--enable", "simd"];
  try {
    const { error, stderr } = await asc.main([join(HERE, "kernel/kernel.ts"), "--outFile", file, ...options]);
    if (error) throw new Error(`${error.message}\n${stderr}`);
    return await readFile(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A script for browsers, with the modules `built:NAME` as texts. */
async function bundle(entry, built) {
  const plugin = {
    name: "built",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^built:/ }, ({ path }) => ({ path, namespace: "built" }));
      onLoad({ filter: /.*/, namespace: "built" }, ({ path }) => ({ contents: built[path.slice(6)], loader: "text" }));
    },
  };
  const options = { bundle: true, minify: true, write: false, format: "iife", target: BROWSERS, legalComments: "none" };
  const result = await build({
    ...options,
    entryPoints: [join(HERE, "src", entry)],
    plugins: [plugin],
    define: { "import.meta.url": '""' },
    logLevel: "warning",
  });
  return result.outputFiles[0].text;
}

async function page() {
  const runtime = join(dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm")), RUNTIME);
  const worker = await bundle("worker.ts", {});
  const built = { worker, kernel: packed(await kernel()), runtime: packed(await readFile(runtime)) };
  const script = (await bundle("main.ts", built)).replaceAll("</script", "<\\/script");
  const style = await readFile(join(HERE, "src/page.css"), "utf8");
  const html = await readFile(join(HERE, "src/page.html"), "utf8");
  return html.replace("/* built:style */", () => style).replace("/* built:script */", () => script);
}

main(async ([folder]) => put("index.html", await page(), folder));
