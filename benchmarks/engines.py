"""The installed package's engine against torch's: equal latents, equal pixels, and seconds, on one thread each.

Every picture of a folder is coded and decoded by both, whole and, of every third one, an odd part. Latents of each
stream must be equal bit for bit, and pixels to one level of 255. Seconds are of one picture at a time, in turns.
Run: OMP_NUM_THREADS=1 python -m benchmarks.engines FOLDER [--checkpoint FILE] [--most 200]
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import torch

from benchmarks.common import command_line, console
from components.arrays import Rgb
from components.codecs.checkpoint import load
from components.codecs.coder import LearnedCoder
from components.codecs.export import export
from components.codecs.exported import ExportedCodec
from components.data.image_files import decode_rgb
from components.errors import BitstreamError
from components.storage.picture_names import PICTURE_SUFFIXES

A = TypeVar("A")
T = TypeVar("T")


def main() -> None:
    """Print what was equal, and the ratios of seconds."""
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("results/flagship/champion.safetensors"))
    parser.add_argument("--most", type=int, default=200, help="pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec, _ = load(arguments.checkpoint)
    with TemporaryDirectory() as folder:
        export(codec, Path(folder))
        thin, size = ExportedCodec(Path(folder), threads=1), sum(path.stat().st_size for path in Path(folder).iterdir())
    coder = LearnedCoder(codec)
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    seconds: dict[str, list[tuple[float, float]]] = {"encode": [], "decode": []}
    streams = equal_streams = equal_latents = palettes = 0
    largest = differing = pixels = 0
    for number, path in enumerate(paths[: arguments.most]):
        whole = decode_rgb(path.read_bytes())
        for rgb in (whole, odd_part(whole, number)) if number % 3 == 0 else (whole,):
            (ours, encode_s), (theirs, torch_encode_s) = timed(thin.encode, rgb), timed(coder.encode, rgb)
            for stream in {ours, theirs}:
                (mine, decode_s), (reference, torch_decode_s) = timed(thin.decode, stream), timed(coder.decode, stream)
                difference = np.abs(mine.astype(np.int16) - reference)
                largest, differing = max(largest, int(difference.max())), differing + int(np.count_nonzero(difference))
                pixels += difference.size
                try:
                    equal_latents += np.array_equal(thin.latents(stream).astype(np.float32), codec.unpack(stream)[0])
                except BitstreamError:
                    palettes += 1
                streams += 1
            equal_streams += ours == theirs
            seconds["encode"].append((encode_s, torch_encode_s))
            seconds["decode"].append((decode_s, torch_decode_s))
    console.print(f"{codec.name}, exported: {size / 1e6:.1f} MB; {len(seconds['encode'])} pictures, {streams} streams")
    console.print(f"  streams with equal latents: {equal_latents} of {streams - palettes}; with a palette: {palettes}")
    console.print(f"  pictures whose streams are equal: {equal_streams} of {len(seconds['encode'])}")
    console.print(f"  largest difference of pixels: {largest}; share that differs: {differing / pixels:.1e}")
    for name, pairs in seconds.items():
        ratio = statistics.median(thin_s / torch_s for thin_s, torch_s in pairs)
        console.print(f"  {name}: {ratio:.2f} of torch's seconds (median of pictures)")


def odd_part(rgb: Rgb, number: int) -> Rgb:
    """A part of a picture whose sides are no multiples of anything."""
    height, width = rgb.shape[:2]
    return np.ascontiguousarray(rgb[number % 7 : height - 1 - number % 5, : max(1, width * 2 // 3 - number % 11)])


def timed(work: Callable[[A], T], argument: A) -> tuple[T, float]:
    """A result, and the processor seconds that it took."""
    started = time.process_time()
    result = work(argument)
    return result, time.process_time() - started


if __name__ == "__main__":
    main()
