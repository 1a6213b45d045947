"""The convolutional branches that the codecs of paper 004 are made of."""

from torch import nn

from components.layers.gdn import Gdn

WIDTHS = (16, 32, 32, 32, 32)  # outputs of the five 3x3 convolutions: "doubled once", 32 in the code


def strides(steps: int) -> list[int]:
    """Strides of the five convolutions for 2 to 4 `steps`: the last two are steps, the others come first.

    Every branch so has its full-width convolutions at the resolution just before the last two halvings
    (1/8 in WCAE), where they cost little and the decoder of the low bands needs them most.
    """
    return [2] * (steps - 2) + [1] * (len(WIDTHS) - steps) + [2, 2]


class AnalysisBranch(nn.Sequential):
    """(B, inputs, h, w) to (B, 32, h / 2^steps, w / 2^steps): five 3x3 convolutions with GDN between them."""

    def __init__(self, inputs: int, steps: int):
        channels = (inputs, *WIDTHS)
        layers: list[nn.Module] = []
        for k, stride in enumerate(strides(steps)):
            layers.append(nn.Conv2d(channels[k], channels[k + 1], 3, stride, padding=1))
            layers.append(Gdn(channels[k + 1]))
        super().__init__(*layers[:-1])


class SynthesisBranch(nn.Sequential):
    """The mirror of `AnalysisBranch`, after one more convolution at the code's own resolution:
    (B, 32, h, w) to (B, outputs, h * 2^steps, w * 2^steps)."""

    def __init__(self, outputs: int, steps: int):
        channels = (outputs, *WIDTHS)
        code = WIDTHS[-1]
        layers: list[nn.Module] = [nn.Conv2d(code, code, 3, padding=1), Gdn(code, inverse=True)]
        for k, stride in reversed(list(enumerate(strides(steps)))):
            layers.append(_upsampling_conv(channels[k + 1], channels[k], stride))
            layers.append(Gdn(channels[k], inverse=True))
        super().__init__(*layers[:-1])


def _upsampling_conv(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=1)
