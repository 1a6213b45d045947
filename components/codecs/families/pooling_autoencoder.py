"""What the codecs of paper 002 share: a fully convolutional autoencoder with pooling."""

from typing import Any, ClassVar

from torch import nn

from components.codecs.families.transform import LearnedPriorCodec
from components.entropy.factorized_prior import FactorizedModel
from components.layers.haar_initialisation import haar_packet
from components.layers.pooling import pooling_down, residual, upsampling


class ConvolutionalAutoencoder(LearnedPriorCodec):
    """
        x --(conv, leaky ReLU, pool, conv) x 4, two blocks at 1/8 and 1/16--> y (M at 1/16) --> bytes
        x_hat <--mirrored: (conv, leaky ReLU, repeat, conv) x 4-- y_hat

    Paper 002 gives "several convolutional and pooling layers" that a decoder mirrors, and no sizes, no code and no
    rate: here 3x3 convolutions, average pooling, latents at 1/16 (at 1/8 the loss was a quarter higher after 150 steps)
    that are rounded and coded under a learned density for each channel, and L = R + lmbda * 255^2 * D as in paper 001.

    Departures. Average pooling alone loses what the code needs, and random weights take thousands of steps to find an
    inverse. So a stage has a skip that pools 2x2 blocks into four Haar bands (their averages with all signs), and its
    mirror one that undoes it; together they start as a Haar packet and its inverse, the convolutions around it near
    zero. At 1/8 and 1/16, where it costs little, a residual block of two convolutions follows.

    N: channels, half as many at 1/2. M: latents.
    """

    stride = 16
    latent_stride = 16
    latent_scale: ClassVar[float] = 2.0  # without GDN latents start large, and take hundreds of steps to shrink

    def __init__(self, N: int, M: int, gain_range: float, **hyperparameters: Any) -> None:
        super().__init__(N=N, M=M, gain_range=gain_range, **hyperparameters)
        self.latent_channels = M
        widths = (3, N // 2, N, N, M)
        inward: list[nn.Module] = []
        outward: list[nn.Module] = []
        for number, stage in enumerate(haar_packet(widths[1:])):
            fine, coarse = widths[number : number + 2]
            deep = number >= 2
            inward += [pooling_down(fine, coarse, stage), *([residual(coarse)] if deep else [])]
            outward = [*([residual(coarse)] if deep else []), upsampling(coarse, fine, stage), *outward]
        self.g_a, self.g_s = nn.Sequential(*inward), nn.Sequential(*outward)
        self.entropy = FactorizedModel(M, gain_range=gain_range)
