"""Residual blocks with transposed convolutions: the mirror of a ResNet (paper 003)."""

from torch import Tensor, nn

from components.layers.residual import conv3x3

_SLOPE = 0.2


class ResidualUpsampling(nn.Module):
    """leaky(skip(x) + body(x)): a convolution, batch normalisation, leaky ReLU, and a second convolution likewise.

    With `twice` the second one is transposed and doubles the size, as does the skip; without, the size stays. The
    body's last scale starts at zero, hence the block as its skip.
    """

    def __init__(self, inputs: int, outputs: int, *, twice: bool):
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
        self.skip: nn.Module = nn.Identity()
        if twice:
            self.skip = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, 2), nn.BatchNorm2d(outputs))
        elif inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        self.leaky = nn.LeakyReLU(_SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or twice the height and width."""
        out: Tensor = self.leaky(self.body(x) + self.skip(x))
        return out


def resnet_mirror(inputs: int, width: int, pool: int = 1) -> nn.Sequential:
    """(B, inputs, h, w) to pictures (B, 3, 32 pool h, 32 pool w) between 0 and 1.

    Five doublings, three of them in residual blocks from 8 to 1 times `width` channels, each with a block at the size
    it came to; then two transposed convolutions and a sigmoid. `pool` undoes an average pooling first.
    """
    layers: list[nn.Module] = []
    if pool > 1:
        layers.append(nn.ConvTranspose2d(inputs, inputs, pool, pool))
    channels = inputs
    for factor in (8, 4, 2, 1):
        layers.append(ResidualUpsampling(channels, factor * width, twice=factor < 8))
        layers.append(ResidualUpsampling(factor * width, factor * width, twice=False))
        channels = factor * width
    layers += [
        nn.ConvTranspose2d(width, width, 4, 2, padding=1),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.ConvTranspose2d(width, 3, 4, 2, padding=1),
        nn.Sigmoid(),
    ]
    return nn.Sequential(*layers)
