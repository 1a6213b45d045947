"""PMSC with a hyperprior, the future work that paper 000 (Nandi and Gandhi 2024) names."""

from typing import ClassVar

from ...entropy.hyperprior import HyperPrior
from ..families.pmsc import PyramidMultiscaleCodec


class PmscHyper(PyramidMultiscaleCodec):
    """PMSC with a mean-scale hyperprior.

        x --g_a--> y0 --importance map--> y;   y --h_a--> z --round--> z_hat --h_s--> psi
        psi --> mean and scale of each element of y --> range coder --> bytes
        x_hat <--g_s-- y_hat

    H. V. Nandi and G. Gandhi, "Image Compression at Multiple Scales Using Wavelet-Based Attention Mechanisms", B.Tech
    project report, IIT Jodhpur, 2024, names this as future work. Transforms, loss and departures: see the base class.

    Channels that are zero need no flags: the hyperprior gives them scales at which a zero is all but free.

    Args:
        N: channels, a multiple of 4.
        M: channels of the latents, a multiple of 4.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
        wavelet: of the attention, an orthogonal or biorthogonal one of PyWavelets; `haar` is the paper's.
    """

    name: ClassVar[str] = "pmsc_hyper"

    def __init__(self, N: int = 96, M: int = 192, gain_range: float = 0.0, wavelet: str = "haar") -> None:
        super().__init__(N, M, wavelet, {"gain_range": gain_range})
        self.entropy = HyperPrior(M, hyper_channels=N, features=2 * M, gain_range=gain_range)
