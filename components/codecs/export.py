"""Export of a codec: what `exported` runs without torch."""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..coding.channel_gaussian import ChannelGaussianCoder
from ..coding.factorized import FactorizedCoder
from ..coding.hyperprior import HyperPriorCoder
from ..entropy.hyperprior import HyperPrior
from ..entropy.integers import CodingModule
from ..errors import RatewrightError
from ..storage.atomic import write_bytes
from .base import Codec
from .exported import (
    ANALYSIS,
    CHANNEL_GAUSSIAN,
    DESCRIPTION,
    FACTORIZED,
    FORMAT,
    HYPER_ANALYSIS,
    HYPERPRIOR,
    INTEGERS,
    SYNTHESIS,
    Description,
)
from .families.transform import GAIN_TO_SLOPE, LearnedPriorCodec, TransformCodec

_KINDS: dict[type, str] = {
    HyperPriorCoder: HYPERPRIOR,
    FactorizedCoder: FACTORIZED,
    ChannelGaussianCoder: CHANNEL_GAUSSIAN,
}
_OPSET = 20
_LARGEST = 1 << 12  # positions a side, for the exporter's bounds


def export(codec: Codec, folder: Path) -> Description:
    """Write a codec in evaluation mode to a folder that ExportedCodec runs. codec.json is written last.

    Args:
        codec: A transform codec whose entropy model is one of those that components.coding has coders of.
        folder: Made if it does not exist.

    Returns:
        What codec.json says.

    Raises:
        RatewrightError: The codec has no such form.
    """
    entropy = getattr(codec, "entropy", None)
    own = (Codec.latents, Codec.compress, TransformCodec.encode, TransformCodec.decode)
    if (
        not isinstance(codec, TransformCodec)
        or not isinstance(entropy, CodingModule)
        or any(getattr(type(codec), method.__name__) is not method for method in own)
    ):
        raise RatewrightError(f"codec {codec.name!r} cannot be exported: it computes more than transforms and a coder")
    structure, integers = entropy.coding_parts()
    lmbda = codec.trained_lmbda if isinstance(codec, LearnedPriorCodec) else None
    picture = torch.rand(1, 3, 2 * codec.stride, 3 * codec.stride)
    with torch.no_grad():
        latents = codec.analyse(picture)
    files = {
        ANALYSIS: _onnx(codec, codec.analyse, picture, codec.stride),
        SYNTHESIS: _onnx(codec, codec.synthesise, latents, codec.stride // codec.latent_stride),
        INTEGERS: _safetensors(integers),
    }
    if isinstance(entropy, HyperPrior):
        files[HYPER_ANALYSIS] = _onnx(codec, entropy.hyper_latents, latents, codec.stride // codec.latent_stride)
    description = Description(
        format=FORMAT,
        codec=codec.name,
        model_hash=codec.model_hash().hex(),
        gain=codec.gain.item(),
        stride=codec.stride,
        latent_stride=codec.latent_stride,
        latent_channels=codec.latent_channels,
        tile=codec.tile,
        halo=codec.halo,
        palettes=codec.palettes,
        error_weight=None if lmbda is None else (lmbda, GAIN_TO_SLOPE),
        coder=_KINDS[type(entropy.coder)],
        structure=dict(structure),
        files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    )
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_bytes(folder / DESCRIPTION, json.dumps(description, indent=1).encode())
    return description


class _Transform(nn.Module):
    """One method of a codec as a module."""

    def __init__(self, codec: Codec, method: Callable[[Tensor], Tensor]):
        super().__init__()
        self.codec, self._method = codec, method

    def forward(self, x: Tensor) -> Tensor:
        return self._method(x)


def _onnx(codec: Codec, method: Callable[[Tensor], Tensor], example: Tensor, multiple: int) -> bytes:
    """A method of a codec as an ONNX model, for inputs (1, C, h, w) whose sides are multiples of `multiple`."""
    height, width = (multiple * torch.export.Dim(name, min=1, max=_LARGEST) for name in ("height", "width"))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of torchvision, which it could export too
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Transform(codec, method).eval(),
                (example,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({2: height, 3: width},),
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # they name files of this machine
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _safetensors(integers: dict[str, Any]) -> bytes:
    from safetensors.numpy import save

    small = {
        name: np.ascontiguousarray(array.astype(np.int32) if np.abs(array).max(initial=0) < 2**31 else array)
        for name, array in integers.items()
    }
    content: bytes = save(small)
    return content
