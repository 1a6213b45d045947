"""GMM: the codec of Cheng et al. 2020 without attention, the baseline of paper 001 (Fang et al. 2024)."""

from typing import ClassVar

from ..families.cheng2020 import ResidualMixtureCodec


class Gmm(ResidualMixtureCodec):
    """Cheng et al. 2020 without attention: the baseline of "Trit-plane and attention" (paper 001; Fang et al. 2024).

        x --down, block, down, block, down, block, conv stride 2--> y (M = N at 1/16)                            g_a
        y --hyperprior z, checkerboard context--> mixture of three Gaussians --> y_hat, bytes
        x_hat <--mirrored-- y_hat                                                                                g_s

    Z. Cheng, H. Sun, M. Takeuchi and J. Katto, "Learned Image Compression with Discretized Gaussian Mixture Likelihoods
    and Attention Modules", CVPR 2020. Departures: see the base class.

    Args:
        N: channels of the transforms and of the latents.
        gain_range: see the base class.
    """

    name: ClassVar[str] = "gmm"
    paper_results: ClassVar[str] = "29.88 dB, MS-SSIM 0.981 at 0.756 bpp"
    attention: ClassVar[bool] = False
