"""The GDN transforms of Balle et al. 2017 and Minnen et al. 2018: four strided 5x5 convolutions, mirrored."""

from itertools import pairwise

from torch import nn

from components.layers.gdn import Gdn
from components.layers.initial import orthogonal, smooth, start


def gdn_transforms(channels: int, latents: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Analysis from (B, 3, H, W) to (B, latents, H / 16, W / 16), and synthesis back."""
    analysis: list[nn.Module] = []
    synthesis: list[nn.Module] = []
    for inputs, outputs in pairwise((3, channels, channels, channels, latents)):
        down = nn.Conv2d(inputs, outputs, 5, 2, padding=2)
        up = nn.ConvTranspose2d(outputs, inputs, 5, 2, padding=2, output_padding=1)
        mixing = orthogonal(outputs, inputs)
        start(down, mixing, smooth(5))
        start(up, mixing, 4 * smooth(5))
        analysis += [down, Gdn(outputs)]
        synthesis = [up, Gdn(inputs, inverse=True), *synthesis]
    return nn.Sequential(*analysis[:-1]), nn.Sequential(*synthesis[:-1])
