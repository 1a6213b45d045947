/** The stored integers of a coder: a safetensors file of int32 and int64 arrays. */

export interface IntegerArray {
  shape: number[];
  data: Int32Array | Float64Array;
}

export class Integers {
  private readonly arrays = new Map<string, IntegerArray>();

  constructor(content: Uint8Array) {
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const headerBytes = Number(view.getBigUint64(0, true));
    const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
      new TextDecoder().decode(content.subarray(8, 8 + headerBytes)),
    );
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const bytes = content.slice(8 + headerBytes + data_offsets[0], 8 + headerBytes + data_offsets[1]).buffer;
      this.arrays.set(name, { shape, data: dtype === "I64" ? ofInt64(bytes) : new Int32Array(bytes) });
    }
  }

  /** The array of that name. */
  get(name: string): IntegerArray {
    const array = this.arrays.get(name);
    if (!array) throw new Error(`the model has no array ${name}`);
    return array;
  }
}

function ofInt64(bytes: ArrayBuffer): Float64Array {
  return Float64Array.from(new BigInt64Array(bytes), Number);
}
