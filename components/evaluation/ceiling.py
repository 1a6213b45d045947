"""The ceiling of a codec: the quality that its transforms alone leave, with nothing quantised between them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..arrays import Rgb
from ..codecs.coder import Coder, LearnedCoder
from ..codecs.families.transform import TransformCodec
from ..codecs.tensors import to_rgb, to_tensor
from ..codecs.tiling import in_tiles
from ..metrics.quality import psnr_db


def ceilings_db(coder: Coder, pictures: Iterable[tuple[str, Rgb]]) -> dict[str, float | None] | None:
    """The ceiling of each picture.

    Args:
        coder: any coder.
        pictures: pairs of a name and a picture.

    Returns:
        Name -> ceiling in dB, see `ceiling_db`; None for a coder other than a transform codec, which has none.
    """
    if not isinstance(coder, LearnedCoder) or not isinstance(coder.codec, TransformCodec):
        return None
    return {name: ceiling_db(coder.codec, rgb) for name, rgb in pictures}


@torch.inference_mode()
def ceiling_db(codec: TransformCodec, rgb: Rgb) -> float | None:
    """PSNR in dB of synthesis(analysis(x)), with all latents as they are; None (infinite) where no pixel changes.

    It does not depend on the gain: finer quantiser steps bring the codec's PSNR towards it.
    """

    def transforms(piece: Tensor) -> Tensor:
        return codec.synthesise(codec.analyse(piece))

    x = to_tensor(rgb).to(codec.gain.device)
    x_hat = in_tiles(transforms, codec.pad(x), 1, codec.tile, 2 * codec.halo)
    return psnr_db(rgb, to_rgb(x_hat[..., : x.shape[-2], : x.shape[-1]]))
