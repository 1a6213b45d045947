"""Bits per pixel and seconds of the index map of a palette. The peer is lossless WebP, of the same 16 colours.

Run: OMP_NUM_THREADS=1 python -m benchmarks.palettes [PICTURE ...]. By default, the plots of kept runs.
"""

import io
from pathlib import Path

from PIL import Image

from benchmarks.common import command_line, console, paired, per_second
from components.codecs.palette import Drawing, decode_palette, drawing
from components.data.image_files import decode_rgb

COLOURS, ROUNDS = 16, 3


def main() -> None:
    """Print the rates, the speeds and their ratios."""
    parser = command_line(__doc__)
    parser.add_argument("pictures", nargs="*", type=Path, default=sorted(Path("results").glob("*/kodak_*_*.png")))
    for path in parser.parse_args().pictures:
        drawn = drawing(decode_rgb(path.read_bytes()))
        if drawn is None:
            console.print(f"{path}: not a drawing")
        else:
            _compare(path.name, drawn)


def _compare(name: str, drawn: Drawing) -> None:
    sections = drawn.with_colours(COLOURS).sections
    height, width = drawn.rgb.shape[:2]
    megapixels = height * width / 1e6
    file = io.BytesIO()
    Image.fromarray(decode_palette(sections, height, width)).save(file, "WEBP", lossless=True, quality=100, method=6)
    webp = file.getvalue()
    ours, theirs = (8e-6 * size / megapixels for size in (sum(map(len, sections)), len(webp)))
    console.print(f"{name}, {width}x{height}: {ours:.3f} bpp, lossless WebP {theirs:.3f}, ratio {ours / theirs:.2f}")
    speed, peer, ratio = paired(
        lambda: per_second(megapixels, lambda: decode_palette(sections, height, width)),
        lambda: per_second(megapixels, lambda: decode_rgb(webp)),
        ROUNDS,
    )
    console.print(f"  decode {speed:.2f} Mpx/s, lossless WebP {peer:.1f}, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
