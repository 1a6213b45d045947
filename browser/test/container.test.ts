import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, MOST_PIXELS, parse } from "../src/container";
import { BitstreamError } from "../src/errors";

const SECTION = [7, 8, 9];

function u32(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

/** A container of one section, as the docstring of components/codecs/bitstream.py says. */
function container(width: number, height: number, version = 1): Uint8Array {
  const name = Array.from("minnen", (letter) => letter.charCodeAt(0));
  const head = [0x52, 0x57, version, name.length, ...name, 1, 2, 3, 4, 5, 6, 7, 255];
  const fields = [...varint(width), ...varint(height), 1, ...varint(SECTION.length)];
  const header = [...head, ...fields, ...u32(crc32(Uint8Array.from(SECTION)))];
  return Uint8Array.from([...header, ...u32(crc32(Uint8Array.from(header))), ...SECTION]);
}

function refused(data: Uint8Array, reason: RegExp): void {
  assert.throws(() => parse(data), (error) => error instanceof BitstreamError && reason.test(error.message));
}

test("the fields of a container", () => {
  const stream = parse(container(300, 5));
  assert.deepEqual({ ...stream, sections: stream.sections.map((each) => [...each]) }, {
    codec: "minnen", modelHash: "01020304050607ff", width: 300, height: 5, sections: [SECTION],
  });
});

test("the checksum of zlib", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

test("every truncation is refused", () => {
  const whole = container(300, 5);
  for (let length = 2; length < whole.length; length++) refused(whole.subarray(0, length), /truncated|damaged/);
});

test("every wrong byte is refused", () => {
  const whole = container(300, 5);
  whole.forEach((byte, at) => {
    const wrong = whole.slice();
    wrong[at] = byte ^ 16;
    refused(wrong, /./);
  });
});

test("what no page can show is refused", () => {
  refused(new Uint8Array(), /not a Ratewright file/);
  refused(Uint8Array.of(0x89, 0x50, 0x4e, 0x47), /not a Ratewright file/);
  refused(container(300, 5, 2), /version 2/);
  refused(container(0, 5), /damaged/);
  refused(container(1 << 16, MOST_PIXELS / (1 << 16) + 1), /too large/);
});
