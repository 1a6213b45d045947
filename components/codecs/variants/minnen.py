"""Joint autoregressive and hierarchical priors (Minnen, Balle and Toderici, NeurIPS 2018), decoded in two passes."""

from typing import ClassVar

from components.codecs.families.transform import LearnedPriorCodec
from components.entropy.hyperprior import HyperPrior
from components.layers.balle2017 import gdn_transforms


class Minnen(LearnedPriorCodec):
    """
        x --4 convs 5x5, stride 2, GDN--> y (M at 1/16) --hyperprior, checkerboard context--> bytes

    N, M: channels of the transforms and of the latents; the paper's are 192 and 192 at low rates.

    Departures: the context is a checkerboard's (He et al. 2021), so that decoding takes two passes instead of one for
    each element; the hyper-transforms have 3x3 convolutions and sub-pixel upsampling, which have an integer form.
    """

    name: ClassVar[str] = "minnen"

    def __init__(self, N: int = 192, M: int = 192, gain_range: float = 0.0) -> None:
        super().__init__(N=N, M=M, gain_range=gain_range)
        self.latent_channels = M
        self.g_a, self.g_s = gdn_transforms(N, M)
        self.entropy = HyperPrior(
            M,
            hyper_channels=N,
            features=2 * M,
            context=5,
            gain_range=gain_range,
        )
