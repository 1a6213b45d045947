"""ResNet decoder of the quantised autoencoder (paper 003; Kumar et al.): residual blocks with transposed
convolutions."""

import torch
from torch import Tensor, nn

from .haar_initialisation import haar_packet, initialise, initialise_upsampling
from .residual import conv3x3

_SLOPE = 0.2
_LOWEST = 4.5  # standard deviation of the lowest band, as a logit
_CODE_MEAN, _CODE_SCALE = 0.5, 0.2  # seldom beyond [0, 1]


class ResidualUpsampling(nn.Module):
    """Residual block skip(x) + body(x), body: convolution, batch norm, leaky ReLU, convolution, batch norm.

    The last scale of the body starts at zero, so that the block starts as its skip.

    Args:
        inputs: input channels; without `twice` they are those of the output.
        outputs: output channels.
        twice: double the size, with a transposed second convolution and a transposed skip.
    """

    def __init__(self, inputs: int, outputs: int, *, twice: bool = False):
        super().__init__()
        second = nn.ConvTranspose2d(outputs, outputs, 4, 2, padding=1) if twice else conv3x3(outputs, outputs)
        self.body = nn.Sequential(
            conv3x3(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(_SLOPE, inplace=True),
            second,
            last := nn.BatchNorm2d(outputs),
        )
        nn.init.zeros_(last.weight)
        self.skip: nn.Module = nn.ConvTranspose2d(inputs, outputs, 2, 2) if twice else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or twice the height and width."""
        out: Tensor = self.skip(x) + self.body(x)
        return out


def code_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation that starts codes (B, channels, h, w) with mean 0.5 and deviation 0.2: mostly in [0, 1]."""
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.weight, _CODE_SCALE)
    nn.init.constant_(norm.bias, _CODE_MEAN)
    return norm


def resnet_mirror(inputs: int, width: int, pool: int = 1) -> nn.Sequential:
    """Decoder that mirrors a ResNet: three residual upsampling stages, two transposed convolutions and a sigmoid.

    The stages go from 8 to 1 times `width` channels; after each comes a residual block of the same size. The decoder is
    initialised as the inverse of a Haar packet whose first channels are the lowest frequencies, with the amplitudes of
    photographs.

    Args:
        inputs: channels of the code, which is distributed as after `code_norm`.
        width: channels of the last stage.
        pool: side of an average pooling before the code, which a transposed convolution undoes first.

    Returns:
        A network from (B, inputs, h, w) to (B, 3, 32 * pool * h, 32 * pool * w) in (0, 1).
    """
    stages = haar_packet((width, width, 2 * width, 4 * width, 8 * width))
    first = nn.Conv2d(inputs, 8 * width, 1)
    scale = _LOWEST / _CODE_SCALE / (1 + torch.arange(8 * width).sqrt())
    with torch.no_grad():
        first.weight.copy_((scale[:, None] * torch.eye(8 * width, inputs))[:, :, None, None])
        first.bias.copy_(-_CODE_MEAN * first.weight.sum(dim=(1, 2, 3)))  # type: ignore[union-attr]
    layers: list[nn.Module] = [first, ResidualUpsampling(8 * width, 8 * width)]
    if pool > 1:
        spread = nn.ConvTranspose2d(inputs, inputs, pool, pool)
        initialise(spread, torch.eye(inputs), torch.ones(pool, pool))
        layers = [spread, *layers]
    for factor, stage in ((4, stages[4]), (2, stages[3]), (1, stages[2])):
        up = ResidualUpsampling(2 * factor * width, factor * width, twice=True)
        initialise_upsampling(up.skip, stage)  # type: ignore[arg-type]
        layers += [up, ResidualUpsampling(factor * width, factor * width)]
    for outputs, stage in ((width, stages[1]), (3, stages[0])):
        last = nn.ConvTranspose2d(width, outputs, 4, 2, padding=1)
        initialise_upsampling(last, stage)
        layers.append(last)
    return nn.Sequential(*layers, nn.Sigmoid())
