"""ResNet with bottleneck blocks (He et al., CVPR 2016, arXiv 1512.03385), compatible with torchvision's weights.

Modules have torchvision's names, so that its published weights fit, such as `resnet101-63fe2227.pth`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

_EXPANSION = 4  # of a block's output over its inner channels


class Bottleneck(nn.Module):
    """Bottleneck block relu(skip(x) + body(x)); body: 1x1, 3x3 and 1x1 convolutions with batch normalisation.

    The 3x3 convolution has the stride ("v1.5"). The skip is the identity where the shape stays.

    Args:
        inputs: input channels.
        width: inner channels; the output has four times as many.
        stride: of the block, 1 or 2.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1):
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4 width, H/stride, W/stride), rounded up."""
        body = self.relu(self.bn1(self.conv1(x)))
        body = self.relu(self.bn2(self.conv2(body)))
        body = self.bn3(self.conv3(body))
        body += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(body)
        return out


class ResNet(nn.Module):
    """Convolutional part of a ResNet, ResNet-101 by default.

    Convolutions are initialised as in torchvision: He et al. (arXiv 1502.01852) with fan-out.

    Args:
        depths: bottleneck blocks in each of the four stages.
        width: channels of the first convolution; the output has 32 times as many (`channels`).
    """

    def __init__(self, depths: Sequence[int] = (3, 4, 23, 3), width: int = 64):
        super().__init__()
        self.channels = 8 * _EXPANSION * width
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        first, second, third, fourth = depths
        self.layer1 = _stage(width, width, first, 1)
        self.layer2 = _stage(4 * width, 2 * width, second, 2)
        self.layer3 = _stage(8 * width, 4 * width, third, 2)
        self.layer4 = _stage(16 * width, 8 * width, fourth, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised as for ImageNet, to (B, channels, H/32, W/32), rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        out: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return out


def _stage(inputs: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """Blocks, the first of which has the stride."""
    rest = (Bottleneck(_EXPANSION * width, width) for _ in range(depth - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)
