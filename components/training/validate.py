"""Measurement of a codec on the validation patches."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..codecs.base import Codec
from .forward import as_float, padded_forward


class ValidationMeans(NamedTuple):
    """Means over the validation patches.

    distortion, rate: the two terms of the codec's loss, in the units of its paper.
    psnr_db: PSNR in dB. bpp: estimated bits per pixel.
    """

    distortion: float
    rate: float
    psnr_db: float
    bpp: float


def validation_means(codec: Codec, batches: Sequence[Tensor], device: torch.device) -> ValidationMeans:
    """Measure `codec` on uint8 batches (B, 3, H, W), and leave it in evaluation mode."""
    codec.eval()
    costs, psnr, bpp = [], [], []
    with torch.inference_mode():
        for batch in batches:
            x = as_float(batch, device)
            reconstruction = padded_forward(codec, codec, x)
            costs.append(codec.distortion_and_rate(x, reconstruction))
            error = (x - reconstruction.x_hat.clamp(0, 1)).square().mean(dim=(1, 2, 3))
            psnr.append(-10 * error.clamp_min(1e-10).log10())
            bpp.append(reconstruction.bits / x[0, 0].numel())
    distortion, rate = (float(torch.stack(term).mean()) for term in zip(*costs, strict=True))
    return ValidationMeans(distortion, rate, float(torch.cat(psnr).mean()), float(torch.cat(bpp).mean()))
