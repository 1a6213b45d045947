"""VGG-19 features (Simonyan and Zisserman, arXiv 1409.1556) and the perceptual loss on them.

Modules have torchvision's names, so that its published weights fit, such as `vgg19-dcbb9e9d.pth`.
"""

from torch import Tensor, nn

from .imagenet import normalised

_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions


class Vgg19(nn.Module):
    """The first `layers` of VGG-19's 37 convolutions, ReLUs and max pools before its classifier, frozen.

    By default the last layer is the ReLU of the last convolution (relu5_4).
    """

    def __init__(self, layers: int = 36):
        super().__init__()
        modules: list[nn.Module] = []
        inputs = 3
        for channels, depth in _STAGES:
            for _ in range(depth):
                modules += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = channels
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules[:layers])
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to features (B, 512, H/16, W/16), rounded down, by default; 16x16 at least."""
        out: Tensor = self.features(normalised(x))
        return out


def perceptual_loss(vgg: Vgg19, a: Tensor, b: Tensor) -> Tensor:
    """Perceptual loss (paper 003; Kumar et al.): mean absolute difference of the features of two batches.

    Args:
        vgg: the feature network.
        a, b: (B, 3, H, W) pictures in [0, 1], 16x16 at least.

    Returns:
        (B,), one loss for each picture.
    """
    difference: Tensor = vgg(a) - vgg(b)
    return difference.abs().flatten(1).mean(1)
