"""The one table of codecs: name to class. A codec's module is imported when it is asked for."""

from importlib import import_module
from typing import Any

import torch

from ..errors import RatewrightError
from .base import Codec

CODECS = {
    "wcae": "Wcae",
    "nowcae": "NoWcae",
    "factorized": "Factorized",
    "minnen": "Minnen",
    "gmm": "Gmm",
    "atc": "Atc",
    "atc_progressive": "AtcProgressive",
    "haar_hyper": "HaarHyper",
    "pmsc": "Pmsc",
    "pmsc_hyper": "PmscHyper",
    "qae": "Qae",
    "cnn_ae": "CnnAe",
    "cnn_ae_ft": "CnnAeFt",
    "cnn_rnn_ae": "CnnRnnAe",
    "gan_ae_w": "GanAeW",
    "gan_ae_dc": "GanAeDc",
    "mlp_lossless": "MlpLossless",
}


def codec_class(name: str) -> type[Codec]:
    """The class of a codec, from the module of its name in `variants`. Raises RatewrightError for an unknown name."""
    if name not in CODECS:
        raise RatewrightError(f"unknown codec {name!r}; known: {', '.join(CODECS)}")
    found: type[Codec] = getattr(import_module(f".variants.{name}", __package__), CODECS[name])
    return found


def build(name: str, hyperparameters: Any) -> Codec:
    """Build a new codec with random weights.

    Args:
        name: as in the table.
        hyperparameters: a mapping of the codec's hyper-parameters.

    Raises:
        RatewrightError: the name is unknown, or the codec does not take the hyper-parameters.
    """
    cls = codec_class(str(name))
    try:
        with torch.inference_mode(False):  # inference tensors can be neither trained nor hashed
            return cls(**hyperparameters)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise RatewrightError(
            f"codec {name!r} does not take the hyper-parameters {hyperparameters!r}: {error}"
        ) from error
