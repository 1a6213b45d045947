"""CNN-AE-FT: the convolutional autoencoder of paper 002 after fine-tuning."""

from typing import ClassVar

from components.codecs.families.perceptual_autoencoder import PerceptualAutoencoder


class CnnAeFt(PerceptualAutoencoder):
    """
        `cnn_ae`, its training started from a trained `cnn_ae` of the same sizes

    See the base classes. A name of its own, for the two are compared, and streams name the codec that wrote them.
    """

    name: ClassVar[str] = "cnn_ae_ft"
    paper_results: ClassVar[str] = "high-resolution pictures: 33.9 dB, SSIM 0.99; no rate is given"
