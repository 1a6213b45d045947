"""CNN-AE: the convolutional autoencoder of paper 002 (Sidpara and Makadia)."""

from typing import ClassVar

from ..families.perceptual_autoencoder import PerceptualAutoencoder


class CnnAe(PerceptualAutoencoder):
    """The convolutional autoencoder of "Lossless MLP, autoencoders, GANs" (paper 002).

        x --3x3 convs, leaky ReLU, 2x2 pooling--> y (M at 1/16)                           g_a
        y --round--> y_hat --a learned density for each channel--> range coder --> bytes
        x_hat <--3x3 convs, leaky ReLU, upsampling-- y_hat                                g_s

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report.

    The paper trains with SGD at a learning rate of 0.001, which `train.optimizer` offers; Adam is the default here.
    Loss, hyper-parameters and departures: see the base classes.
    """

    name: ClassVar[str] = "cnn_ae"
