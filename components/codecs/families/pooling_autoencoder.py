"""The family of the autoencoders in "Lossless MLP, autoencoders, GANs" (paper 002): convolutions and pooling.

P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)", project
report.
"""

from typing import Any, ClassVar

from torch import nn

from ...entropy.factorized_model import FactorizedModel
from ...layers.haar_initialisation import haar_packet
from ...layers.pooling import pooling_down, residual, upsampling
from .transform import LearnedPriorCodec


class ConvolutionalAutoencoder(LearnedPriorCodec):
    """A fully convolutional autoencoder with pooling, and a factorized prior of its latents.

        x --(conv, leaky ReLU, pool, conv) x 4, two blocks at 1/8 and 1/16--> y (M at 1/16) --round--> y_hat --> bytes
        x_hat <--mirrored: (conv, leaky ReLU, repeat, conv) x 4-- y_hat

    Of the paper: "several convolutional and pooling layers" that a decoder mirrors. It gives no sizes, no code and no
    rate. Chosen here: 3x3 convolutions, average pooling, latents at 1/16 (at 1/8 the loss was a quarter higher after
    150 steps), one learned density for each channel, and L = R + lmbda * 255^2 * D.

    Departures: average pooling alone loses detail that the latents need, and random weights take thousands of steps to
    find an inverse. So a stage has a shortcut that pools 2x2 blocks into four Haar bands (averages with all signs), and
    its mirror one that undoes it. Together they start as a Haar packet and its inverse, the convolutions beside them
    near zero. At 1/8 and 1/16, where it costs little, a residual block of two convolutions follows.

    Args:
        N: channels; half as many at 1/2.
        M: channels of the latents.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
        hyperparameters: those that a subclass adds, stored with the others.
    """

    stride = 16
    latent_stride = 16
    latent_scale: ClassVar[float] = 2.0  # less than with GDN: without it latents start large and shrink slowly

    def __init__(self, N: int, M: int, gain_range: float, **hyperparameters: Any) -> None:
        super().__init__(N=N, M=M, gain_range=gain_range, **hyperparameters)
        self.latent_channels = M
        widths = (3, N // 2, N, N, M)
        analysis: list[nn.Module] = []
        synthesis: list[nn.Module] = []
        for number, stage in enumerate(haar_packet(widths[1:])):
            fine, coarse = widths[number : number + 2]
            deep = number >= 2
            analysis += [pooling_down(fine, coarse, stage), *([residual(coarse)] if deep else [])]
            synthesis = [*([residual(coarse)] if deep else []), upsampling(coarse, fine, stage), *synthesis]
        self.g_a, self.g_s = nn.Sequential(*analysis), nn.Sequential(*synthesis)
        self.entropy = FactorizedModel(M, gain_range=gain_range)
