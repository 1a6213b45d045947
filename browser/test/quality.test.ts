import assert from "node:assert/strict";
import { test } from "node:test";
import type { Picture } from "../src/codec";
import { atSize, psnr } from "../src/quality";

function grey(...values: number[]): Picture {
  const rgba = Uint8ClampedArray.from(values.flatMap((value) => [value, value, value, 255]));
  return { width: values.length, height: 1, rgba };
}

test("PSNR is that of red, green and blue", () => {
  assert.equal(psnr(grey(1, 2), grey(1, 2)), Infinity);
  assert.equal(psnr(grey(0), grey(255)), 0);
  assert.ok(Math.abs(psnr(grey(10, 10), grey(10, 11)) - 10 * Math.log10((255 * 255) / 0.5)) < 1e-9);
});

test("bisection finds the largest file that is not above the size", async () => {
  const sizes = Array.from({ length: 101 }, (_, quality) => 100 + 7 * quality + (quality > 60 ? 500 : 0));
  for (const most of [100, 106, 107, 350, 519, 520, 521, 1030, 1300, 9999]) {
    const { file, quality } = await atSize(most, async (each) => ({ size: sizes[each]! }));
    assert.equal(quality, sizes.findLastIndex((size) => size <= most));
    assert.equal(file.size, sizes[quality]);
  }
});

test("the smallest file is the answer where all are above the size", async () => {
  const { file, quality } = await atSize(99, async (each) => ({ size: 100 + each }));
  assert.deepEqual([file.size, quality], [100, 0]);
});
