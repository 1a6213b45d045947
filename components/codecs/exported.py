"""An exported codec in use: numpy and ONNX Runtime, without torch. `export` writes one.

A folder holds codec.json (a `Description`), its transforms as ONNX, and the integers of its coder:

    x in [0, 1] --analysis.onnx--> y --hyper_analysis.onnx--> z       y, z --coder, in integers--> sections
    x_hat <--synthesis.onnx-- y_hat <--coder, in integers-- sections
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..arrays import Rgb
from ..coding.channel_gaussian import ChannelGaussianCoder
from ..coding.conditional import SQUARES_PER_BIT
from ..coding.factorized import FactorizedCoder
from ..coding.fixed_point import Arrays, Values
from ..coding.hyperprior import HyperPriorCoder
from ..coding.trit_planes import TritPlaneCoder
from ..errors import BitstreamError, CheckpointError, RatewrightError, one_line
from .bitstream import Bitstream, byte_budget, check_size, parse, stream_of_at_least
from .effort import DEFAULT_EFFORT, Progress, no_progress
from .palette import PALETTE_SECTIONS, cheaper_stream, decode_palette, drawing
from .tile_grid import tiles

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = 1
DESCRIPTION, INTEGERS = "codec.json", "integers.safetensors"
ANALYSIS, SYNTHESIS, HYPER_ANALYSIS = "analysis.onnx", "synthesis.onnx", "hyper_analysis.onnx"
CODERS: dict[str, type[Any]] = {
    "hyperprior": HyperPriorCoder,
    "trit_planes": TritPlaneCoder,
    "factorized": FactorizedCoder,
    "channel_gaussian": ChannelGaussianCoder,
}
"""Kinds of coders, each made of a structure and arrays."""

_Floats = NDArray[np.float32]


class Description(TypedDict):
    """What codec.json says.

    format: of the folder.
    codec, model_hash, gain: as in DeployedCodec; the hash in hexadecimal digits.
    stride: sides of pictures are padded to multiples of it.
    latent_stride, latent_channels: pixels a side for each latent, and C.
    tile, halo: of large pictures, in pixels.
    palettes: whether drawings may have one.
    error_weight: the weight at gain 1, and the exponent of the gain, of bits per pixel that a squared error of 1 is
        worth; null if unknown.
    coder, structure: the coder's kind, and what its integers are for.
    files: the SHA-256 of each file.
    """

    format: int
    codec: str
    model_hash: str
    gain: float
    stride: int
    latent_stride: int
    latent_channels: int
    tile: int
    halo: int
    palettes: bool
    error_weight: tuple[float, float] | None
    coder: str
    structure: dict[str, Any]
    files: dict[str, str]


class _Coder(Protocol):
    """Latents y (C, h, w) to sections and back."""

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Values:
        """The quantised latents of that shape. Raises BitstreamError."""


class ExportedCodec:
    """The codec of an exported folder, with the interface of DeployedCodec.

    Args:
        folder: As `export` wrote it. It is not needed afterwards.
        threads: Of the transforms; None for OMP_NUM_THREADS, or all cores.
    """

    error: type[Exception] = RatewrightError
    operating_points: tuple[range, ...] = ()

    def __init__(self, folder: Path, threads: int | None = None):
        """Raises CheckpointError for a folder that was not exported, or whose files have changed."""
        description, files = _read(folder)
        self._description = description
        self.name, self.gain = description["codec"], description["gain"]
        self.model_hash = bytes.fromhex(description["model_hash"])
        self._coder = _coder(description["coder"], description["structure"], _integers(files[INTEGERS]))
        self.progressive = isinstance(self._coder, TritPlaneCoder)
        self._transforms = {
            name: session(content, threads) for name, content in files.items() if name.endswith(".onnx")
        }

    def encode(
        self,
        rgb: Rgb,
        gain: float | None = None,
        bpp: float | None = None,
        effort: int = DEFAULT_EFFORT,
        on_progress: Progress = no_progress,  # noqa: ARG002
    ) -> bytes:
        """The bitstream of a picture, as DeployedCodec.encode. Raises RatewrightError for efforts above the default."""
        if bpp is not None and not self.progressive:
            raise RatewrightError(f"codec {self.name!r} is not progressive: it takes no rate")
        if effort not in (0, DEFAULT_EFFORT) or (effort == 0 and not isinstance(self._coder, HyperPriorCoder)):
            raise RatewrightError(f"effort {effort}: an exported codec has no gradients to refine latents by")
        gain = self.gain if gain is None else gain
        height, width = rgb.shape[:2]
        check_size(width, height)
        y = self._latents(rgb)

        def pack(gain: float) -> bytes:
            sections = self._encode(y, gain, effort)
            full_length = len(sections[0]) if self.progressive else None
            return Bitstream(self.name, self.model_hash, width, height, sections, full_length).pack()

        if bpp is not None:
            size = byte_budget(bpp, (height, width))
            return stream_of_at_least(size, pack, self.gain).truncate(size)
        stream = pack(gain)
        drawn = drawing(rgb) if self._description["palettes"] else None
        return cheaper_stream(stream, drawn, self._error_weight(gain), self.decode)

    def decode(self, stream: bytes) -> Rgb:
        """The picture (H, W, 3) uint8 in a bitstream. Raises BitstreamError."""
        parsed = self._parsed(stream)
        if self._has_palette(parsed):
            return decode_palette(parsed.sections, parsed.height, parsed.width)
        x_hat = self._in_tiles(
            SYNTHESIS, self._quantised(parsed).astype(np.float32), self._description["latent_stride"]
        )
        with np.errstate(over="ignore", invalid="ignore"):
            total = x_hat.sum()
        if not np.isfinite(total):
            raise BitstreamError("corrupted bitstream: its latents are too large to make a picture")
        shown = np.clip(x_hat[:, : parsed.height, : parsed.width], 0, 1)
        shown *= 255
        return np.ascontiguousarray(np.round(shown, out=shown).astype(np.uint8).transpose(1, 2, 0))

    def latents(self, stream: bytes) -> Values:
        """The quantised latents (C, h, w) in a bitstream, equal on every machine. Raises BitstreamError."""
        parsed = self._parsed(stream)
        if self._has_palette(parsed):
            raise BitstreamError("this stream holds a palette and no latents")
        return self._quantised(parsed)

    def _parsed(self, stream: bytes) -> Bitstream:
        parsed = parse(stream)
        if parsed.codec != self.name:
            raise BitstreamError(f"this stream was written by codec {parsed.codec!r}, not {self.name!r}")
        if parsed.model_hash != self.model_hash:
            raise BitstreamError(
                f"this stream was written by model {parsed.model_hash.hex()}, not {self.model_hash.hex()}"
            )
        return parsed

    def _has_palette(self, parsed: Bitstream) -> bool:
        return self._description["palettes"] and len(parsed.sections) == PALETTE_SECTIONS

    def _quantised(self, parsed: Bitstream) -> Values:
        each = self._description["latent_stride"]
        height, width = (side // each for side in self._padded(parsed.height, parsed.width))
        return self._coder.decode(parsed.sections, (self._description["latent_channels"], height, width))

    def _latents(self, rgb: Rgb) -> _Floats:
        """Latents (C, h, w) of a picture, before quantisation."""
        height, width = self._padded(*rgb.shape[:2])
        margins = ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0))
        x = np.pad(rgb, margins, mode="edge").transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        return self._in_tiles(ANALYSIS, x, 1 / self._description["latent_stride"])

    def _encode(self, y: _Floats, gain: float, effort: int) -> tuple[bytes, ...]:
        coder, latents = self._coder, y.astype(np.float64)
        if isinstance(coder, FactorizedCoder | ChannelGaussianCoder):
            return coder.encode(latents, gain)
        z = self._run(HYPER_ANALYSIS, y).astype(np.float64)
        if isinstance(coder, TritPlaneCoder):
            return coder.encode(latents, z, gain)
        assert isinstance(coder, HyperPriorCoder)
        return coder.encode(latents, z, gain, SQUARES_PER_BIT if effort else 0.0)

    def _padded(self, height: int, width: int) -> tuple[int, int]:
        """Multiples of the stride."""
        stride = self._description["stride"]
        return -(-height // stride) * stride, -(-width // stride) * stride

    def _error_weight(self, gain: float) -> float | None:
        weight = self._description["error_weight"]
        return None if weight is None else weight[0] * gain ** weight[1]

    def _in_tiles(self, transform: str, x: _Floats, scale: float) -> _Floats:
        """A transform of x (C, h, w), in tiles where it is large."""
        per_element = 1 if transform == ANALYSIS else self._description["latent_stride"]
        tile, halo = (self._description[key] // per_element for key in ("tile", "halo"))
        height, width = x.shape[1:]
        out: _Floats | None = None
        for part in tiles(height, width, scale, tile, halo):
            transformed = self._run(transform, x[:, part.piece[0], part.piece[1]])
            if part.piece[0] == slice(None):
                return transformed
            if out is None:
                out = np.empty((len(transformed), round(scale * height), round(scale * width)), np.float32)
            out[:, part.target[0], part.target[1]] = transformed[:, part.inner[0], part.inner[1]]
        assert out is not None
        return out

    def _run(self, transform: str, x: _Floats) -> _Floats:
        (out,) = self._transforms[transform].run(None, {"input": np.ascontiguousarray(x)[None]})
        transformed: _Floats = out[0]
        return transformed


def _read(folder: Path) -> tuple[Description, dict[str, bytes]]:
    """The description, and the content of the files that it names."""
    try:
        description: Description = json.loads((folder / DESCRIPTION).read_bytes())
        if description["format"] != FORMAT:
            raise CheckpointError(f"{folder}: an export of format {description['format']}, this program reads {FORMAT}")
        files = {name: (folder / Path(name).name).read_bytes() for name in description["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: not an exported codec ({one_line(error)})") from error
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != description["files"][name]:
            raise CheckpointError(f"{folder}: {name} is not the file that was exported")
    return description, files


def _integers(content: bytes) -> Arrays:
    from safetensors.numpy import load

    integers: Arrays = load(content)
    return integers


def _coder(kind: str, structure: dict[str, Any], integers: Arrays) -> _Coder:
    if kind not in CODERS:
        raise CheckpointError(f"an export with coder {kind!r}, which this program does not know")
    coder: _Coder = CODERS[kind](structure, integers)
    return coder


def session(content: bytes, threads: int | None) -> "InferenceSession":
    """An ONNX model, ready to run on this many threads of the CPU; None for all cores."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = _usual_threads() if threads is None else threads
    options.log_severity_level = 3
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _usual_threads() -> int:
    """OMP_NUM_THREADS, or 0 for all cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(first) if first.isdecimal() else 0
