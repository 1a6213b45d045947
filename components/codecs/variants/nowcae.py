"""NoWCAE: the ablation of Wavelet CAE (paper 004; Akyazi and Ebrahimi 2019), its finest branch alone, on pixels."""

from typing import ClassVar

from ...layers.branch import branches
from ...layers.haar_initialisation import PIXELS
from ..families.gaussian_autoencoder import GaussianAutoencoder

STEPS = 4


class NoWcae(GaussianAutoencoder):
    """Wavelet CAE without its wavelets: the paper's ablation.

        x (3) --5 convs, 4 of them stride 2, GDN--> y (32 at 1/16)                           g_a
        y --round--> y_hat --Gaussian of each channel--> range coder --> bytes
        x_hat <--mirrored-- y_hat                                                            g_s

    P. Akyazi and T. Ebrahimi, "Learning-Based Image Compression using Convolutional Autoencoder and Wavelet
    Decomposition", CVPR Workshops (CLIC) 2019. Loss: see the base class.

    Of the paper: the blocks have the architecture of WCAE's finest scale. That branch halves four times, from 1/2 to
    1/32 there and so from pixels to 1/16 here: the latents have a third more elements than WCAE's.
    """

    name: ClassVar[str] = "nowcae"
    paper_results: ClassVar[str] = (
        "CLIC 2019 validation: 23.82 dB, MS-SSIM 0.8983 at 0.206 bpp; test: 22.25 dB at 0.184 bpp"
    )
    stride = 2**STEPS
    latent_stride = 2**STEPS

    def __init__(self) -> None:
        super().__init__(32)
        self.g_a, self.g_s = branches(PIXELS, STEPS)
