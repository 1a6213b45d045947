"""CNN-AE-FT: the convolutional autoencoder of paper 002 (Sidpara and Makadia) after fine-tuning."""

from typing import ClassVar

from ..families.perceptual_autoencoder import PerceptualAutoencoder


class CnnAeFt(PerceptualAutoencoder):
    """CNN-AE fine-tuned on the target data ("Lossless MLP, autoencoders, GANs", paper 002).

        trained `cnn_ae` of the same sizes --training on other pictures--> `cnn_ae_ft`

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report.

    The data flow is that of `cnn_ae`. The codec has a name of its own because the two are compared, and because streams
    name the codec that wrote them. Loss, hyper-parameters and departures: see the base classes.
    """

    name: ClassVar[str] = "cnn_ae_ft"
    paper_results: ClassVar[str] = "high-resolution pictures: 33.9 dB, SSIM 0.99; no rate is given"
