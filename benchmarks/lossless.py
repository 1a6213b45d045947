"""mlp_lossless: megapixels per second, against the same network pixel by pixel, and against JPEG 2000 and JPEG XL.

The network is untrained: its speed does not depend on its weights, but files are larger, and escapes more, than of a
trained one. `--checkpoint FILE` names one. Run: python -m benchmarks.lossless
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.common import console, paired, per_second
from components.arrays import Rgb
from components.codecs.baselines.lossless import LOSSLESS
from components.codecs.checkpoint import load
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.mlp_lossless import MlpLossless
from components.entropy.pixels.causal_mlp import NEAREST, NEIGHBOURS, PLANES, REACH_LEFT, REACH_UP, FixedPointMlp

ROUNDS, LOOP_SIDE = 3, 40


def main() -> None:
    """Print speeds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
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
    """Every prediction that decoding needs, in raster order, one pixel at a time; nothing is decoded."""
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
