// Runs the tests of test/, bundled for Node.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { HERE } from "./files.mjs";

const tests = join(HERE, "test");
const folder = mkdtempSync(join(tmpdir(), "ratewright-"));
try {
  const entryPoints = readdirSync(tests).map((name) => join(tests, name));
  const options = { bundle: true, platform: "node", format: "esm", outExtension: { ".js": ".mjs" }, logLevel: "warning" };
  buildSync({ ...options, entryPoints, outdir: folder });
  const built = readdirSync(folder).map((name) => join(folder, name));
  process.exitCode = spawnSync(process.execPath, ["--test", ...built], { stdio: "inherit" }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
