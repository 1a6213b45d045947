/**
 * The container of a bitstream, as components/codecs/bitstream.py writes it.
 *
 *     "RW" | version u8 | name: length u8, ASCII | model hash, 8 bytes | width, height: varint
 *     | sections: count u8, each length varint | CRC-32 of the payload | CRC-32 of the header | payload
 */

import { BitstreamError } from "./errors";

export interface Bitstream {
  codec: string;
  /** In hexadecimal digits. */
  modelHash: string;
  width: number;
  height: number;
  sections: Uint8Array[];
}

const FORMAT_VERSION = 1;
const MODEL_HASH_BYTES = 8;
const LARGEST_SIDE = 2 ** 16;
const PIXELS_PER_BYTE = 2 ** 11;
const FREE_PIXELS = 2 ** 20;
const PROGRESSIVE = 0x81;
/** Of a picture that a page can hold with its latents: it takes about 1 GB then. */
export const MOST_PIXELS = 2 ** 24;

/** Parse a container and check its checksums. Throws BitstreamError. */
export function parse(data: Uint8Array): Bitstream {
  const reader = new Reader(data);
  if (data.length < 2 || reader.u8() !== 0x52 || reader.u8() !== 0x57) {
    throw new BitstreamError("This is not a Ratewright file.");
  }
  const version = reader.u8();
  const nameLength = reader.u8();
  if (version !== FORMAT_VERSION) {
    throw new BitstreamError(`This file has format version ${version}. This page reads version ${FORMAT_VERSION}.`);
  }
  const codec = String.fromCharCode(...reader.take(nameLength));
  const modelHash = hexadecimal(reader.take(MODEL_HASH_BYTES));
  const width = reader.varint();
  const height = reader.varint();
  const count = reader.u8();
  if (count === PROGRESSIVE) throw new BitstreamError(`Files of codec ${codec} are progressive, which this page cannot read.`);
  const lengths = Array.from({ length: count }, () => reader.varint());
  const payloadChecksum = reader.u32();
  const header = data.subarray(0, reader.position);
  if (reader.u32() !== crc32(header)) throw new BitstreamError("This file is damaged: its header's checksum does not match.");
  checkSize(width, height);
  const payload = data.subarray(reader.position);
  const least = Math.floor(Math.max(0, width * height - FREE_PIXELS) / PIXELS_PER_BYTE);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (payload.length < Math.max(total, least)) {
    throw new BitstreamError("This file is truncated: it ends before its last section does.");
  }
  if (crc32(payload) !== payloadChecksum) throw new BitstreamError("This file is damaged: its checksum does not match.");
  const body = new Reader(payload);
  return { codec, modelHash, width, height, sections: lengths.map((length) => body.take(length)) };
}

function checkSize(width: number, height: number): void {
  if (width < 1 || height < 1 || width > LARGEST_SIDE || height > LARGEST_SIDE) {
    throw new BitstreamError(`This file is damaged: no picture is ${width}×${height} pixels.`);
  }
  if (width * height > MOST_PIXELS) {
    const most = (MOST_PIXELS / 1e6).toFixed(1);
    throw new BitstreamError(`This picture is too large for a page: ${width}×${height} pixels, at most ${most} million.`);
  }
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads fields one after another. Throws BitstreamError at the end of the data. */
class Reader {
  position = 0;

  constructor(private readonly data: Uint8Array) {}

  take(count: number): Uint8Array {
    if (this.position + count > this.data.length) {
      throw new BitstreamError("This file is truncated: it ends in its header.");
    }
    this.position += count;
    return this.data.subarray(this.position - count, this.position);
  }

  u8(): number {
    return this.take(1)[0]!;
  }

  u32(): number {
    const [a, b, c, d] = this.take(4);
    return (a! | (b! << 8) | (c! << 16) | (d! << 24)) >>> 0;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 35; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new BitstreamError("This file is damaged: a number in its header is too long.");
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 as in zlib. */
export function crc32(data: Uint8Array): number {
  let value = ~0;
  for (const byte of data) value = CRC_TABLE[(value ^ byte) & 255]! ^ (value >>> 8);
  return ~value >>> 0;
}
