"""The GDN transforms of Balle et al. 2017 and Minnen et al. 2018: four strided 5x5 convolutions, mirrored."""

from itertools import pairwise

from torch import nn

from components.layers.gdn import Gdn
from components.layers.haar_initialisation import haar_packet, initialise_downsampling, initialise_upsampling


def gdn_transforms(channels: int, latents: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Analysis from (B, 3, H, W) to (B, latents, H / 16, W / 16), and synthesis back; they start as a Haar packet."""
    widths = (channels, channels, channels, latents)
    analysis: list[nn.Module] = []
    synthesis: list[nn.Module] = []
    for (inputs, outputs), stage in zip(pairwise((3, *widths)), haar_packet(widths), strict=True):
        down = nn.Conv2d(inputs, outputs, 5, 2, padding=2)
        up = nn.ConvTranspose2d(outputs, inputs, 5, 2, padding=2, output_padding=1)
        initialise_downsampling(down, stage)
        initialise_upsampling(up, stage)
        analysis += [down, Gdn(outputs)]
        synthesis = [up, Gdn(inputs, inverse=True), *synthesis]
    return nn.Sequential(*analysis[:-1]), nn.Sequential(*synthesis[:-1])
