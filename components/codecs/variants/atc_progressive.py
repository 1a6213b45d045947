"""atc_progressive: the transforms of `atc`, coded in trit planes. Paper 001's promise, after DPICT and CTC."""

from typing import ClassVar

from components.codecs.families.cheng2020 import ResidualCodec
from components.entropy.progressive.trit_plane_model import TritPlaneModel


class AtcProgressive(ResidualCodec):
    """
        x --g_a of atc--> y --hyperprior--> distance from the mean --> trits in the order of their ranks --> bytes
        x_hat <--g_s of atc-- y_hat <--(refined within what is known)-- any first bytes

    One stream serves every rate: its first bytes are the stream of a lower one. Training draws a gain for each image,
    cuts its latents there, and weighs its distortion accordingly, so that transforms, prior and refinements know
    partial latents from the start; the paper retrains the decoder for them. The gain says where streams end; a stream
    of any other size is cut from one of the finest gain.

    N: channels; M: latents, of which the high rates need more. gain_range: training's gains lie between
    exp(-gain_range) and exp(gain_range). rate_reduction, distortion_reduction: whether what is known sharpens the
    probabilities of the trits that follow, and moves the values that are reconstructed.
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
