"""Export of a codec: what `exported` runs without torch."""

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ..entropy.integers import CodingModule
from ..errors import RatewrightError
from ..storage.atomic import write_bytes
from .base import Codec
from .exported import (
    ANALYSIS,
    CODERS,
    DESCRIPTION,
    FORMAT,
    HYPER_ANALYSIS,
    INTEGERS,
    SYNTHESIS,
    Description,
)
from .families.transform import GAIN_TO_SLOPE, LearnedPriorCodec, TransformCodec
from .onnx_graph import onnx_model


@runtime_checkable
class _WithHyperLatents(Protocol):
    """An entropy model with side information."""

    def hyper_latents(self, y: Tensor) -> Tensor:
        """z (B, N, h / 4, w / 4) of latents y (B, C, h, w), before rounding."""


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
    latents = codec.latent_channels, codec.stride // codec.latent_stride
    try:
        files = {
            ANALYSIS: onnx_model(codec.analyse, 3, codec.stride),
            SYNTHESIS: onnx_model(codec.synthesise, *latents),
            INTEGERS: _safetensors(integers),
        }
        if isinstance(entropy, _WithHyperLatents):
            files[HYPER_ANALYSIS] = onnx_model(entropy.hyper_latents, *latents)
    except RatewrightError as error:
        raise RatewrightError(f"codec {codec.name!r} cannot be exported: {error}") from error
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
        coder=next(kind for kind, coder in CODERS.items() if coder is type(entropy.coder)),
        structure=dict(structure),
        files={name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    )
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_bytes(folder / DESCRIPTION, json.dumps(description, indent=1).encode())
    return description


def _safetensors(integers: dict[str, Any]) -> bytes:
    from safetensors.numpy import save

    small = {
        name: np.ascontiguousarray(array.astype(np.int32) if np.abs(array).max(initial=0) < 2**31 else array)
        for name, array in integers.items()
    }
    content: bytes = save(small)
    return content
