"""ATC: the codec of Cheng et al. 2020 with simplified attention (paper 001; Fang et al. 2024)."""

from typing import ClassVar

from ..families.cheng2020 import ResidualMixtureCodec


class Atc(ResidualMixtureCodec):
    """Cheng et al. 2020 with the simplified attention module of "Trit-plane and attention" (paper 001).

        x --down, block, down, attention, block, down, block, conv stride 2, attention--> y (M = N at 1/16)      g_a
        y --hyperprior z, checkerboard context--> mixture of three Gaussians --> y_hat, bytes
        x_hat <--mirrored-- y_hat                                                                                g_s

    M. Fang, H. Wang, K. Yang, C. Liu and J. Lai, "Image Compression Base on Trit-Plane and Attention", Xiamen
    University, 2024.

    Of the paper: attention without the non-local block, and L = R + lmbda * 255^2 * MSE. Departures: see the base
    class.

    Args:
        N: channels of the transforms and of the latents.
        gain_range: see the base class.
    """

    name: ClassVar[str] = "atc"
    paper_results: ClassVar[str] = "30.26 dB, MS-SSIM 0.983 at 0.560 bpp"
    attention: ClassVar[bool] = True
