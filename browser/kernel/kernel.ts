// The loops that take the time, in AssemblyScript: the range decoder, whose state has 64 bits, and exact products in
// float64, two at a time. The memory is the caller's: nothing is allocated here.

const PRECISION: u64 = 24;
const LEAST_RANGE: u64 = 1 << 32;
const SMALLEST_WEIGHT: f64 = 1.0 / 65536.0;
const LARGEST_ACTIVATION: f64 = 262144.0;

let range: u64 = 0;
let distance: u64 = 0; // of the code's point from the lower end of the range
let next: usize = 0;
let end: usize = 0;

function word(): u64 {
  if (next >= end) return 0;
  const value = bswap<u32>(load<u32>(next));
  next += 4;
  return <u64>value;
}

/** Begin with `bytes` at `start`, in words of 32 bits. */
export function open(start: usize, bytes: usize): void {
  next = start;
  end = start + bytes;
  range = u64.MAX_VALUE;
  distance = word() << 32;
  distance |= word();
}

// @ts-ignore: a decorator of AssemblyScript
@inline
function narrowScaled(scale: u64, left: u32, width: u32): void {
  distance -= scale * <u64>left;
  range = scale * <u64>width;
  if (range < LEAST_RANGE) {
    range <<= 32;
    distance = (distance << 32) | word();
  }
}

/** Where the code lies, in 2^-24 of the range; -1 if the bytes are no code. */
export function quantile(): i32 {
  const found = distance / (range >> PRECISION);
  return found >> PRECISION ? -1 : <i32>found;
}

/** Take the symbol that has the part of the range from `left` on. */
export function narrow(left: u32, width: u32): void {
  narrowScaled(range >> PRECISION, left, width);
}

/** `count` symbols of one table to `out` (int32); `bounds` are the lower ends of its entries, then 2^24. */
export function decodeTable(bounds: usize, entries: i32, count: i32, out: usize): bool {
  for (let at = 0; at < count; at++) {
    const scale = range >> PRECISION;
    const found = distance / scale;
    if (found >> PRECISION) return false;
    const quantile = <u32>found;
    let low = 0;
    let high = entries;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (load<u32>(bounds + (<usize>middle << 2)) <= quantile) low = middle;
      else high = middle;
    }
    const left = load<u32>(bounds + (<usize>low << 2));
    narrowScaled(scale, left, load<u32>(bounds + (<usize>low << 2), 4) - left);
    store<i32>(out + (<usize>at << 2), low);
  }
  return true;
}

/** `count` values from 0 to size - 1, equally probable, to `out` (int32). */
export function decodeUniform(size: u32, count: i32, out: usize): bool {
  const each: u32 = (1 << 24) / size;
  for (let at = 0; at < count; at++) {
    const scale = range >> PRECISION;
    const found = distance / scale;
    if (found >> PRECISION) return false;
    const value = min<u32>(<u32>found / each, size - 1);
    const left = value * each;
    narrowScaled(scale, left, value == size - 1 ? (1 << 24) - left : each);
    store<u32>(out + (<usize>at << 2), value);
  }
  return true;
}

/**
 * Activations (rows, 4 strips) of x (rows, inner): products with weights (strips, inner, 4), plus `rounding`
 * (4 strips), over 2^16, floored and clamped. `rows` is a multiple of 4. All are whole numbers in float64.
 */
export function convolve(
  x: usize, rows: i32, inner: i32, weights: usize, rounding: usize, strips: i32, out: usize,
): void {
  const line = <usize>inner << 3;
  const outLine = <usize>strips << 5;
  for (let strip = 0; strip < strips; strip++) {
    const bias0 = v128.load(rounding + (<usize>strip << 5));
    const bias1 = v128.load(rounding + (<usize>strip << 5), 16);
    for (let row = 0; row < rows; row += 4) {
      let a0 = bias0, a1 = bias1, b0 = bias0, b1 = bias1;
      let c0 = bias0, c1 = bias1, d0 = bias0, d1 = bias1;
      let w = weights + <usize>strip * (<usize>inner << 5);
      let p = x + <usize>row * line;
      let q = p + line;
      let r = q + line;
      let s = r + line;
      const stop = q;
      while (p < stop) {
        const w0 = v128.load(w);
        const w1 = v128.load(w, 16);
        let value = v128.load64_splat(p);
        a0 = f64x2.add(a0, f64x2.mul(value, w0));
        a1 = f64x2.add(a1, f64x2.mul(value, w1));
        value = v128.load64_splat(q);
        b0 = f64x2.add(b0, f64x2.mul(value, w0));
        b1 = f64x2.add(b1, f64x2.mul(value, w1));
        value = v128.load64_splat(r);
        c0 = f64x2.add(c0, f64x2.mul(value, w0));
        c1 = f64x2.add(c1, f64x2.mul(value, w1));
        value = v128.load64_splat(s);
        d0 = f64x2.add(d0, f64x2.mul(value, w0));
        d1 = f64x2.add(d1, f64x2.mul(value, w1));
        w += 32;
        p += 8;
        q += 8;
        r += 8;
        s += 8;
      }
      const target = out + <usize>row * outLine + (<usize>strip << 5);
      settle(target, a0, a1);
      settle(target + outLine, b0, b1);
      settle(target + 2 * outLine, c0, c1);
      settle(target + 3 * outLine, d0, d1);
    }
  }
}

// @ts-ignore: a decorator of AssemblyScript
@inline
function settle(target: usize, first: v128, second: v128): void {
  v128.store(target, activation(first));
  v128.store(target, activation(second), 16);
}

// @ts-ignore: a decorator of AssemblyScript
@inline
function activation(sums: v128): v128 {
  const whole = f64x2.floor(f64x2.mul(sums, f64x2.splat(SMALLEST_WEIGHT)));
  return f64x2.max(f64x2.min(whole, f64x2.splat(LARGEST_ACTIVATION)), f64x2.splat(-LARGEST_ACTIVATION));
}
