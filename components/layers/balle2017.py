"""Analysis and synthesis transforms with GDN: four strided 5x5 convolutions and their mirror.

Ballé, Laparra and Simoncelli, "End-to-end optimized image compression" (ICLR 2017); the same as in Minnen, Ballé and
Toderici, "Joint autoregressive and hierarchical priors" (NeurIPS 2018).

    x --conv 5x5 /2, GDN--> --conv /2, GDN--> --conv /2, GDN--> --conv /2--> y          g_a
    y --deconv 5x5 x2, IGDN--> --deconv x2, IGDN--> --deconv x2, IGDN--> --deconv x2--> x_hat     g_s
"""

from itertools import pairwise

from torch import nn

from .gdn import Gdn
from .haar_initialisation import haar_packet, initialise_downsampling, initialise_upsampling


def gdn_transforms(channels: int, latents: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Analysis transform g_a and synthesis transform g_s, initialised as a Haar wavelet packet and its inverse.

    Args:
        channels: outputs of the first three convolutions (N).
        latents: channels of the latents (M).

    Returns:
        g_a from (B, 3, H, W) to (B, latents, H / 16, W / 16), H and W multiples of 16; and g_s back.
    """
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
