"""Megapixels per second of `mlp_lossless`. The peers are its network pixel by pixel, JPEG 2000 and JPEG XL.

Without a checkpoint the network is untrained. Its speed does not depend on its weights, but its files are larger and
have more escape codes than those of a trained one. Run: python -m benchmarks.lossless [--checkpoint FILE]
"""

from pathlib import Path

import numpy as np

from benchmarks.common import command_line, console, paired, per_second
from components.arrays import Rgb
from components.codecs.baselines.lossless import LOSSLESS
from components.codecs.checkpoint import load
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.mlp_lossless import MlpLossless
from components.entropy.pixels.fixed_point_mlp import FixedPointMlp
from components.entropy.pixels.neighbourhood import NEAREST, NEIGHBOURS, PLANES, REACH_LEFT, REACH_UP

ROUNDS, LOOP_SIDE = 3, 40


def main() -> None:
    """Print speeds and ratios."""
    parser = command_line(__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a trained mlp_lossless")
    path = parser.parse_args().checkpoint
    from skimage import data

    rgb = np.concatenate((data.astronaut(), data.astronaut()[:, ::-1, ::-1]), axis=1)[:, :768]
    for coder in ("range", "huffman") if path is None else (None,):
        codec = build("mlp_lossless", {"coder": coder}) if path is None else load(path)[0]
        assert isinstance(codec, MlpLossless)
        _compare(codec.eval(), rgb)


def _compare(codec: MlpLossless, rgb: Rgb) -> None:
    x, megapixels = to_tensor(rgb), rgb.shape[0] * rgb.shape[1] / 1e6
    (stream,) = codec.compress(x)
    console.print(f"mlp_lossless, {codec.coder} coder, {codec.mlp.macs} multiply-accumulates a pixel, 768x512")
    small = rgb[:LOOP_SIDE, :LOOP_SIDE]
    speed, loop, ratio = paired(
        lambda: per_second(megapixels, lambda: codec.decompress([stream])),
        lambda: per_second(LOOP_SIDE**2 / 1e6, lambda: pixel_by_pixel(codec, small)),
        ROUNDS,
    )
    console.print(f"  decode {speed:.2f} Mpx/s; the network alone, pixel by pixel, {loop:.4f}: ratio {ratio:.0f}")
    for name in ("jpeg2000_lossless", "jpegxl_lossless"):
        peer = LOSSLESS[name]
        file = peer.encode(rgb)
        for what, ours, theirs in (
            ("encode", lambda: codec.compress(x), lambda peer=peer: peer.encode(rgb)),
            ("decode", lambda: codec.decompress([stream]), lambda peer=peer, file=file: peer.decode(file)),
        ):
            speed, other, ratio = paired(
                lambda ours=ours: per_second(megapixels, ours),  # type: ignore[misc]
                lambda theirs=theirs: per_second(megapixels, theirs),  # type: ignore[misc]
                ROUNDS,
            )
            console.print(f"  {what} {speed:.2f} Mpx/s, {name} {other:.2f}: ratio {ratio:.2f}")


def pixel_by_pixel(codec: MlpLossless, rgb: Rgb) -> None:
    """Every prediction that decoding needs, one pixel at a time in raster order; decodes no symbols."""
    predictor = FixedPointMlp(codec.mlp)
    planes = np.pad(rgb.transpose(2, 0, 1).astype(np.float32), ((0, 0), (REACH_UP, 0), (REACH_LEFT, REACH_LEFT)))
    for y in range(REACH_UP, planes.shape[1]):
        for x in range(REACH_LEFT, planes.shape[2] - REACH_LEFT):
            seen = np.stack([planes[:, y - up, x - left] for up, left in NEIGHBOURS])[:, :, None]
            predictor.start(seen, np.zeros((len(NEAREST), PLANES, 1), np.float32))
            for plane in range(PLANES):
                mean, _, _ = predictor.predict(plane)
                here = planes[plane, y, x] - predictor.reference[plane]
                predictor.update(plane, here.astype(np.int32), mean)


if __name__ == "__main__":
    main()
