"""The one table of codecs: name -> class, loaded when asked for."""

from importlib import import_module
from typing import Any

import torch

from components.codecs.base import Codec
from components.errors import RatewrightError

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
    """The class of codec `name`, from the module of that name in `variants`. Raises RatewrightError."""
    if name not in CODECS:
        raise RatewrightError(f"unknown codec {name!r}; known: {', '.join(CODECS)}")
    found: type[Codec] = getattr(import_module(f"components.codecs.variants.{name}"), CODECS[name])
    return found


def build(name: str, hyperparameters: Any) -> Codec:
    """A new codec. Raises RatewrightError for an unknown name, or hyper-parameters that the codec does not take."""
    made = codec_class(str(name))
    try:
        with torch.inference_mode(False):  # whose tensors could not be trained, nor hashed
            return made(**hyperparameters)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise RatewrightError(
            f"codec {name!r} does not take the hyper-parameters {hyperparameters!r}: {error}"
        ) from error
