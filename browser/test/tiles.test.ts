import assert from "node:assert/strict";
import { test } from "node:test";
import { tiles } from "../src/tiles";

test("one tile for what is hardly larger than one", () => {
  assert.deepEqual(tiles(104, 80, 96, 8), [
    [{ start: 0, end: 104, innerStart: 0, innerEnd: 104 }],
    [{ start: 0, end: 80, innerStart: 0, innerEnd: 80 }],
  ]);
});

test("tiles cover every position once, with a border of their neighbours", () => {
  const [rows] = tiles(300, 40, 96, 8);
  assert.deepEqual(rows.map(({ innerStart, innerEnd }) => [innerStart, innerEnd]), [[0, 96], [96, 192], [192, 288], [288, 300]]);
  assert.deepEqual(rows.map(({ start, end }) => [start, end]), [[0, 104], [88, 200], [184, 296], [280, 300]]);
});
