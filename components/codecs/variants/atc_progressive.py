"""ATC, progressive: the transforms of `atc`, with latents coded in trit planes (paper 001; Fang et al. 2024)."""

from typing import ClassVar

from ...entropy.progressive.trit_plane_model import TritPlaneModel
from ..families.cheng2020 import ResidualCodec


class AtcProgressive(ResidualCodec):
    """Attention-based trit-plane coding: every prefix of a stream decodes to a picture.

        x --g_a of atc--> y --minus the mean that the hyperprior gives--> trit planes, most significant first
        trits in rate-distortion order, sharper probabilities from the planes before --> range coder --> bytes
        x_hat <--g_s of atc-- y_hat <--refined expected values-- any prefix of the bytes

    M. Fang, H. Wang, K. Yang, C. Liu and J. Lai, "Image Compression Base on Trit-Plane and Attention", Xiamen
    University, 2024. The method goes back to DPICT (Lee et al., CVPR 2022) and CTC (Jeon et al., CVPR 2023).

    Of the paper: trit planes of the mean-removed latents without a context model, their order, rate reduction (the
    probabilities of later trits) and distortion reduction (refined partial latents).

    Departures: the paper retrains the decoder for partial latents. Here every training step draws a gain for each
    picture, cuts its latents there and weights its distortion accordingly, so that transforms, prior and refinements
    know partial latents from the start. The gain sets where streams end; a stream of any other size is truncated from
    one of the finest gain.

    Args:
        N: channels of the transforms.
        M: channels of the latents; high rates need more of them.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
        rate_reduction: whether earlier planes sharpen the probabilities of later trits.
        distortion_reduction: whether earlier planes move the values that partial latents are reconstructed at.
    """

    name: ClassVar[str] = "atc_progressive"
    attention: ClassVar[bool] = True
    progressive: ClassVar[bool] = True

    def __init__(
        self,
        N: int = 128,
        M: int = 192,
        gain_range: float = 1.5,
        rate_reduction: bool = True,
        distortion_reduction: bool = True,
    ) -> None:
        refinements = {"rate_reduction": rate_reduction, "distortion_reduction": distortion_reduction}
        super().__init__(N, M, {"N": N, "M": M, "gain_range": gain_range, **refinements})
        self.entropy = TritPlaneModel(
            M,
            hyper_channels=N,
            features=2 * N,
            gain_range=gain_range,
            **refinements,
        )
