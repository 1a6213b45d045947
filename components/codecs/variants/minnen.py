"""Joint autoregressive and hierarchical priors (Minnen, Ballé and Toderici 2018), decoded in two passes."""

from functools import partial
from typing import ClassVar

from ...entropy.context import CheckerboardContext
from ...entropy.hyperprior import HyperPrior
from ...layers.balle2017 import gdn_transforms
from ..families.transform import LearnedPriorCodec


class Minnen(LearnedPriorCodec):
    """GDN transforms with a hyperprior and a context model, which paper 001 (Fang et al. 2024) compares with.

        x --4 convs 5x5, stride 2, GDN--> y (M at 1/16)                                     g_a
        y --h_a--> z --round--> z_hat --h_s--> psi
        psi, checkerboard context --> mean and scale of each element of y --> range coder --> bytes
        x_hat <--mirrored, inverse GDN-- y_hat                                              g_s

    D. Minnen, J. Ballé and G. Toderici, "Joint autoregressive and hierarchical priors for learned image compression",
    NeurIPS 2018. Loss: see the base class.

    Departures: the context is a checkerboard's (He et al. 2021), so that decoding takes two passes instead of one for
    each element. The hyper-transforms have 3x3 convolutions and sub-pixel upsampling, which have an integer form.

    Args:
        N: channels of the transforms; the paper has 192 at low rates.
        M: channels of the latents; the paper has 192 at low rates.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
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
            context=partial(CheckerboardContext, features=2 * M, kernel=5),
            gain_range=gain_range,
        )
