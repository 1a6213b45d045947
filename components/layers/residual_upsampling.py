"""Residual blocks with transposed convolutions: the mirror of a ResNet (paper 003)."""

import torch
from torch import Tensor, nn

from components.layers.haar_initialisation import haar_packet, initialise, initialise_upsampling
from components.layers.residual import conv3x3

_SLOPE = 0.2
_LOWEST = 4.5  # of a logit, what the lowest band varies by
_CODE_MEAN, _CODE_SCALE = 0.5, 0.2  # seldom beyond [0, 1]


class ResidualUpsampling(nn.Module):
    """skip(x) + body(x), the body a convolution, batch normalisation, leaky ReLU, and the two first once more.

    With `twice` the second convolution is transposed and doubles the size, as does the skip; without, the size stays.
    The body's last scale starts at zero, hence the block as its skip.
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
    """What starts codes (B, channels, h, w) around the middle of [0, 1]."""
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.weight, _CODE_SCALE)
    nn.init.constant_(norm.bias, _CODE_MEAN)
    return norm


def resnet_mirror(inputs: int, width: int, pool: int = 1) -> nn.Sequential:
    """Codes (B, inputs, h, w) as `code_norm` leaves them to pictures (B, 3, 32 pool h, 32 pool w) between 0 and 1.

    Five doublings, three of them in residual blocks from 8 to 1 times `width` channels, each with a block at the size
    it came to; then two transposed convolutions and a sigmoid. `pool` undoes an average pooling first. It starts as the
    inverse of a Haar packet, its first channels the lowest frequencies, as large as those of photographs.
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
