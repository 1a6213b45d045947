"""The PSNR limit of linear transforms in the shape of Wavelet CAE (paper 004, Akyazi and Ebrahimi 2019).

Each branch of `wcae` has 32 numbers for its bands in a square of 32x32 pixels. The 32 principal components of these
bands, measured on the training pictures, are the linear transform with the least squared error. Their PSNR on the test
pictures, without quantisation, bounds every linear codec of that shape. The peer is as many components of the pixels.

Run in a checkout whose `params.yaml` names the data sets, after `dvc repro fetch`: python -m benchmarks.linear_limit
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pixel_unshuffle

from benchmarks.common import command_line, console
from components.codecs.variants.wcae import BRANCHES
from components.layers.haar import dwt
from pipeline.config import params
from pipeline.paths import CHECKOUT, Layout
from pipeline.stages._data_set import Pictures

SQUARE = 32
WIDTH = 32  # numbers of each branch

Blocks = list[NDArray[np.float32]]
"""(squares, numbers) for each part of a picture. The parts are orthonormal: squared errors add up."""


def in_bands(x: torch.Tensor) -> Blocks:
    """The bands of each branch of `wcae`, from a (1, 3, H, W) picture."""
    parts = []
    for _ in BRANCHES:
        x, details = dwt(x)
        parts.append(details)
    parts[-1] = torch.cat((x, parts[-1]), dim=1)
    return [squares(part, SQUARE >> level) for level, part in enumerate(parts, start=1)]


def in_pixels(x: torch.Tensor) -> Blocks:
    """The pixels, as one part."""
    return [squares(x, SQUARE)]


def squares(x: torch.Tensor, side: int) -> NDArray[np.float32]:
    """(1, C, H, W) to (squares, C x side x side)."""
    return pixel_unshuffle(x, side)[0].flatten(1).T.numpy()


def components(blocks: Sequence[NDArray[np.float32]], width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (numbers,) and the first `width` principal components (numbers, width)."""
    mean = np.mean([block.mean(axis=0, dtype=np.float64) for block in blocks], axis=0)
    covariance = sum((block - mean).T @ (block - mean) / len(block) for block in blocks)
    return mean, np.linalg.eigh(covariance)[1][:, -width:]


def main() -> None:
    """Print the mean PSNR of the test set for both."""
    command_line(__doc__).parse_args()
    settings, layout = params.load(CHECKOUT), Layout(CHECKOUT)
    sets = {}
    for name in (settings.data.train, settings.data.test):
        rgbs = [
            rgb[: len(rgb) // SQUARE * SQUARE, : rgb.shape[1] // SQUARE * SQUARE]
            for rgb in Pictures(layout.raw(name)).rgbs
        ]
        sets[name] = [torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255 for rgb in rgbs]
    for label, parts_of, width in (
        ("wcae's branches", in_bands, WIDTH),
        ("peer: pixels", in_pixels, WIDTH * len(BRANCHES)),
    ):
        trained = [components(blocks, width) for blocks in zip(*map(parts_of, sets[settings.data.train]), strict=True)]
        psnrs = []
        for x in sets[settings.data.test]:
            lost = 0.0
            for block, (mean, basis) in zip(parts_of(x), trained, strict=True):
                centred = block - mean
                lost += np.square(centred).sum() - np.square(centred @ basis).sum()
            psnrs.append(-10 * np.log10(lost / x.numel()))
        console.print(f"{settings.data.test}, {label}, {width} numbers for each: {np.mean(psnrs):.2f} dB")


if __name__ == "__main__":
    main()
