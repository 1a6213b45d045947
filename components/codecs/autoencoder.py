"""What the codecs of paper 004 share: a convolutional autoencoder whose code is Gaussian channel by channel."""

import math
import struct
from typing import ClassVar

import torch
from torch import Tensor, nn

from components.codecs.base import Codec, Knob, Loss, Reconstruction
from components.entropy.channel_gaussian import ChannelGaussian
from components.errors import BitstreamError

# Transforms work on values of about 1; the code is this many times larger, so that a quantiser step of 1 starts
# as a fine one and training has only to give up what is not worth its bits.
CODE_SCALE = 8.0


class GaussianAutoencoder(Codec):
    """
        x --2x-1--> g_a --> * 8 --> y --round(y * gain)--> ChannelGaussian --> bytes
        x_hat <--(+1)/2-- g_s <-- / 8 <-- symbols / gain <----------------- bytes

    A subclass gives the transforms on [-1, 1]: `g_a` from (B, 3, H, W) to (B, code_channels, H/s, W/s) with
    s = `code_stride`, and `g_s` back. The one section holds the gain (float32) and the range-coded symbols.

    Loss (paper 004, equations 1 to 3): J = D + lmbda R, with D the mean squared error on [-1, 1] and R the
    entropy in bits per element of the code. The paper writes D as a sum, but its lmbda = 0.0025 balances at
    about 0.15 bpp only when both are means; its R lacks a minus and weights by the symbol, a misprint.
    """

    knob: ClassVar[Knob] = Knob("lmbda", "J = MSE on [-1, 1] + lmbda * bits per code element", raises_rate=False)
    code_channels: ClassVar[int]
    code_stride: ClassVar[int]

    g_a: nn.Module
    g_s: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.entropy = ChannelGaussian(self.code_channels)

    def forward(self, x: Tensor) -> Reconstruction:
        """(B, 3, H, W) to the reconstruction and the estimated bits of the code, side information left out."""
        y_hat, bits = self.entropy(self.analyse(x))
        return Reconstruction(self.synthesise(y_hat), bits)

    def loss(self, x: Tensor, reconstruction: Reconstruction, lmbda: float) -> Loss:
        """D + lmbda R in the units above; `rate` is R."""
        distortion = 4 * (x - reconstruction.x_hat).square().mean()
        elements = x[0, 0].numel() * self.code_channels / self.code_stride**2
        rate = reconstruction.bits.mean() / elements
        return Loss(distortion + lmbda * rate, distortion, rate)

    def analyse(self, x: Tensor) -> Tensor:
        """The code y before quantisation."""
        code: Tensor = self.g_a(2 * x - 1)
        return CODE_SCALE * code

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """The code, quantised, to the picture: the inverse of `analyse` as far as there is one."""
        x_hat: Tensor = self.g_s(y_hat / CODE_SCALE)
        return (x_hat.float() + 1) / 2

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: gain, then the coded symbols."""
        symbols = (latents[0].float() * gain).round().int().cpu().numpy()
        return (struct.pack("<f", gain) + self.entropy.encode(symbols),)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """Integer decoding of the symbols, then the float synthesis."""
        if len(sections) != 1 or len(sections[0]) < 4:
            raise BitstreamError("corrupted bitstream: one section with a gain was expected")
        (gain,) = struct.unpack_from("<f", sections[0])
        if not (math.isfinite(gain) and gain > 0):
            raise BitstreamError("corrupted bitstream: the gain is not a positive number")
        shape = (self.code_channels, height // self.code_stride, width // self.code_stride)
        symbols = torch.from_numpy(self.entropy.decode(sections[0][4:], shape))
        y_hat = symbols.to(self.gain.device, torch.float32)[None] / gain
        return self.synthesise(y_hat)
