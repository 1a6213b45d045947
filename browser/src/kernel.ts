/** The WebAssembly module of kernel/kernel.ts, and memory for it that is given out from one end. */

interface Exports {
  memory: WebAssembly.Memory;
  open(start: number, bytes: number): void;
  decodeTable(bounds: number, entries: number, count: number, out: number): number;
  decodeUniform(size: number, count: number, out: number): number;
  quantile(): number;
  narrow(left: number, width: number): void;
  convolve(
    x: number, rows: number, inner: number, weights: number, rounding: number, strips: number, out: number,
  ): void;
}

const PAGE = 2 ** 16;

export class Kernel {
  readonly run: Exports;
  /** Views of the whole memory, new after each `allocate`. */
  u8!: Uint8Array;
  i32!: Int32Array;
  u32!: Uint32Array;
  f64!: Float64Array;
  private used = PAGE;

  private constructor(exports: Exports) {
    this.run = exports;
    this.look();
  }

  static async open(module: Uint8Array<ArrayBuffer>): Promise<Kernel> {
    const abort = () => {
      throw new Error("the decoder's kernel stopped");
    };
    const { instance } = await WebAssembly.instantiate(module, { env: { abort } });
    return new Kernel(instance.exports as unknown as Exports);
  }

  /** The address of `bytes` of memory, a multiple of 16. */
  allocate(bytes: number): number {
    const at = this.used;
    this.used = Math.ceil((at + bytes) / 16) * 16;
    const missing = this.used - this.run.memory.buffer.byteLength;
    if (missing > 0) this.run.memory.grow(Math.ceil(missing / PAGE));
    this.look();
    return at;
  }

  /** What a function allocates is free again when it ends. */
  within<Result>(work: () => Result): Result {
    const before = this.used;
    try {
      return work();
    } finally {
      this.used = before;
    }
  }

  private look(): void {
    const { buffer } = this.run.memory;
    if (this.u8?.buffer === buffer) return;
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}
