"""PMSC: multi-scale blocks, wavelet attention and an importance map (paper 000; Nandi and Gandhi 2024)."""

from typing import ClassVar

from ...entropy.factorized_model import FactorizedModel
from ..families.pmsc import PyramidMultiscaleCodec


class Pmsc(PyramidMultiscaleCodec):
    """PMSC with a factorized prior, and flags of the channels that are zero.

        x --g_a--> y0 --importance map--> y --round--> y_hat
        y_hat --flags of non-zero channels, a learned density for each of them--> range coder --> bytes
        x_hat <--g_s-- y_hat

    H. V. Nandi and G. Gandhi, "Image Compression at Multiple Scales Using Wavelet-Based Attention Mechanisms", B.Tech
    project report, IIT Jodhpur, 2024. Transforms, loss and departures: see the base class.

    Of the paper: channels that are all zero are not coded. The rate in training counts every channel, so a stream is
    shorter than training's estimate by what it leaves out.

    Args:
        N: channels, a multiple of 4.
        M: channels of the latents, a multiple of 4.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
        wavelet: of the attention, an orthogonal or biorthogonal one of PyWavelets; `haar` is the paper's.
    """

    name: ClassVar[str] = "pmsc"
    paper_results: ClassVar[str] = "Kodak: 28.4 dB, SSIM 0.66; no rate is given"
    stride = 32

    def __init__(self, N: int = 96, M: int = 192, gain_range: float = 0.0, wavelet: str = "haar") -> None:
        super().__init__(N, M, wavelet, {"gain_range": gain_range})
        self.entropy = FactorizedModel(M, gain_range=gain_range, channel_flags=True)
