"""CNN-AE: the convolutional autoencoder of paper 002."""

from typing import ClassVar

from components.codecs.families.perceptual_autoencoder import PerceptualAutoencoder


class CnnAe(PerceptualAutoencoder):
    """
        x --3x3 convs, leaky ReLU, 2x2 pooling--> y (M at 1/16) --round--> a learned density for each channel --> bytes

    See the base classes. The paper trains with SGD at 0.001, which `train.optimizer` offers; Adam is the default.
    """

    name: ClassVar[str] = "cnn_ae"
