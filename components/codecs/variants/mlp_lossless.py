"""MLP lossless: a multilayer perceptron predicts every pixel from those before it (paper 002; Sidpara and Makadia)."""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...coding.blas import one_blas_thread
from ...entropy.pixels import logistic_mixture as logistics
from ...entropy.pixels.causal_mlp import CausalMlp
from ...entropy.pixels.fixed_point_mlp import MEAN_BITS, FixedPointMlp
from ...entropy.pixels.neighbourhood import PLANES
from ...entropy.pixels.rans import ByteModels
from ...entropy.pixels.residual_coder import (
    HuffmanResidualDecoder,
    HuffmanResidualEncoder,
    RansResidualDecoder,
    RansResidualEncoder,
    ResidualDecoder,
    ResidualEncoder,
)
from ...entropy.pixels.wavefront import Front, Wavefront, strips
from ...errors import BitstreamError, RatewrightError
from ..base import Codec, Scalar
from ..rate_parameter import RateParameter
from ..tensors import Reconstruction

Ints = NDArray[np.int32]
CodeValues = Callable[[int, Ints, Ints, Ints], Ints]
"""Encodes or decodes the values of one plane of a front.

Takes the number of the plane, the rows of the values' probability tables, the predicted values, and the values that the
front holds (when encoding: the picture's); returns the picture's values.
"""

_GRAY = 1
_LENGTH = struct.Struct("<I")
_INITIAL_SCALE = 16.0  # index of the scale that training starts from


class MlpLossless(Codec):
    """A lossless codec: a perceptron predicts every pixel from causal neighbours, and the errors are entropy-coded.

        G, R - G, B - G --16 causal neighbours and their errors--> MLP --> mean, scale, weight of two logistics
        (value - mean) mod 256 --probability tables--> rANS or Huffman code --> bytes
        and back, in the order of a wavefront

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report. Loss: L = R in bits per pixel. There is no rate parameter.

    Of the paper, with `coder` = "huffman": the network predicts a value, and the errors of each plane get one Huffman
    code, made for the picture. Beyond the paper, with `coder` = "range": it predicts a distribution for every value.

    Departures: the paper leaves colour open. Here G is predicted first, then the differences R - G and
    B - G from all that is known of the pixel; a picture with R = G = B everywhere takes one plane. A linear prediction
    stands beside the network. The network is trained in floating point and runs in integers
    (entropy.pixels.fixed_point_mlp).

    Args:
        coder: "range" or "huffman".
        width: units of the hidden layers that all planes share.
        head: units of the hidden layers of one plane.
        window: side of the squares that training takes from each patch, in pixels.
    """

    name: ClassVar[str] = "mlp_lossless"
    rate_parameter: ClassVar[RateParameter | None] = None
    paper_results: ClassVar[str] = "lossless: 4.5 bpp on pictures of its own, where JPEG 2000 takes 4.3 and JPEG 5.2"
    stride = 1
    latent_stride = 1
    halo: ClassVar[int] = 0

    tables: Tensor

    def __init__(
        self, coder: Literal["huffman", "range"] = "range", width: int = 32, head: int = 16, window: int = 64
    ) -> None:
        if coder not in ("huffman", "range"):
            raise RatewrightError(f"mlp_lossless: coder must be huffman or range, not {coder!r}")
        super().__init__(coder=coder, width=width, head=head, window=window)
        self.coder, self.window = coder, window
        self.mlp = CausalMlp(width, head, _INITIAL_SCALE)
        # One distribution of each plane's errors, for all pixels: only the Huffman coder's training uses it.
        huffman = coder == "huffman"
        self.plane_scale = nn.Parameter(torch.full((PLANES,), _INITIAL_SCALE), requires_grad=huffman)
        self.plane_weight = nn.Parameter(torch.ones(PLANES), requires_grad=huffman)
        self.register_buffer("tables", logistics.tables())

    def forward(self, x: Tensor) -> Reconstruction:
        """The pictures, unchanged, and their bits; in training estimated from one window of each picture."""
        red, green, blue = (255 * (self._windows(x) if self.training else x)).unbind(dim=1)
        here, predictions = self.mlp(torch.stack((green, red - green, blue - green), dim=1))
        bits = torch.zeros(len(x), device=x.device)
        for plane, (mean, scale, weight) in enumerate(predictions):
            if self.coder == "huffman":
                scale, weight = self.plane_scale[plane], self.plane_weight[plane]
            bits = bits + logistics.bits(here[:, plane] - mean, scale, weight).flatten(1).mean(dim=1)
        return Reconstruction(x, bits * x[0, 0].numel())

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """Zero distortion, and bits per pixel."""
        return x.new_zeros(()), reconstruction.bits.mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        """L = R, in bits per pixel."""
        return rate

    def analyse(self, x: Tensor) -> Tensor:
        """A picture's values from 0 to 255."""
        return (255 * x).round().clamp(0, 255)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Values from 0 to 255 to the picture in [0, 1]."""
        return y_hat / 255

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:  # noqa: ARG002
        """One section: a byte, 1 for a gray picture, then every strip after its length, u32."""
        red, green, blue = latents[0].cpu().numpy().astype(np.int16)
        planes = np.stack((green, red - green, blue - green))
        gray = not planes[1:].any()
        predictor = FixedPointMlp(self.mlp)
        parts = [bytes((_GRAY * gray,))]
        for rows in strips(*green.shape):
            coded = self._encode_strip(planes[:, rows], predictor, gray)
            parts += [_LENGTH.pack(len(coded)), coded]
        return (b"".join(parts),)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """The 8-bit values (1, 3, H, W) of the picture. Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 1:
            raise BitstreamError("corrupted bitstream: one section was expected")
        gray, data = sections[0][0] == _GRAY, sections[0][1:]
        predictor, planes = FixedPointMlp(self.mlp), []
        for rows in strips(height, width):
            end = _LENGTH.size + (_LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else len(data))
            coded, data = data[_LENGTH.size : end], data[end:]
            planes.append(self._decode_strip(coded, rows.stop - rows.start, width, predictor, gray))
        if data:
            raise BitstreamError("corrupted bitstream: bytes follow the last strip")
        green, red, blue = np.concatenate(planes, axis=1)
        rgb = np.stack((red + green, green, blue + green))
        return torch.from_numpy(rgb).to(self.gain.device, torch.float32)[None]

    def _encode_strip(self, planes: NDArray[np.int16], predictor: FixedPointMlp, gray: bool) -> bytes:
        wavefront = Wavefront(*planes.shape[1:])
        wavefront.load(planes)
        encoder = self._residual_encoder(planes[0].size, 1 if gray else PLANES)

        def encode(plane: int, tables: Ints, predicted: Ints, values: Ints) -> Ints:
            encoder.encode(plane, tables, ((values - predicted) & 255).astype(np.uint8))
            return values

        _code_strip(wavefront, predictor, encode, gray)
        return encoder.finish()

    def _decode_strip(
        self, data: bytes, height: int, width: int, predictor: FixedPointMlp, gray: bool
    ) -> NDArray[np.int16]:
        wavefront = Wavefront(height, width)
        decoder = self._residual_decoder(height * width, 1 if gray else PLANES, data)

        def decode(plane: int, tables: Ints, predicted: Ints, _: Ints) -> Ints:
            return (predicted + decoder.decode(plane, tables)) & 255

        _code_strip(wavefront, predictor, decode, gray)
        decoder.finish()
        return wavefront.planes()

    def kmac_per_px(self) -> tuple[float, float]:
        """Those of the network, which runs outside of torch, the same in both directions."""
        return self.mlp.macs / 1000, self.mlp.macs / 1000

    def _windows(self, x: Tensor) -> Tensor:
        """A random square window of each of (B, 3, H, W)."""
        corners = [torch.randint(max(1, side - self.window + 1), (len(x),)).tolist() for side in x.shape[-2:]]
        windows = [
            one[:, top : top + self.window, left : left + self.window]
            for one, top, left in zip(x, *corners, strict=True)
        ]
        return torch.stack(windows)

    def _residual_encoder(self, pixels: int, planes: int) -> ResidualEncoder:
        if self.coder == "huffman":
            return HuffmanResidualEncoder(planes)
        return RansResidualEncoder(_byte_models(self.tables), pixels)

    def _residual_decoder(self, pixels: int, planes: int, data: bytes) -> ResidualDecoder:
        if self.coder == "huffman":
            return HuffmanResidualDecoder(planes, pixels, data)
        return RansResidualDecoder(_byte_models(self.tables), pixels, data)


def _byte_models(tables: Tensor) -> ByteModels:
    return _cached_byte_models(tables.cpu().numpy().tobytes())


@lru_cache(maxsize=2)
def _cached_byte_models(tables: bytes) -> ByteModels:
    return ByteModels(np.frombuffer(tables, np.int16).reshape(-1, 256))


def _code_strip(wavefront: Wavefront, predictor: FixedPointMlp, code: CodeValues, gray: bool) -> None:
    """Predict and code a strip, front by front; the wavefront holds the strip's values afterwards."""
    with one_blas_thread():  # fronts are small
        for front in wavefront.walk():
            _code_front(front, predictor, code, gray)


def _code_front(front: Front, predictor: FixedPointMlp, code: CodeValues, gray: bool) -> None:
    """Predict and code the pixels of one front, plane by plane, and fill in its values and errors."""
    predictor.start(front.context, front.context_errors)
    shape, coded = front.values.shape[1:], front.coded
    green: Ints = np.zeros(shape[0] * shape[1], dtype=np.int32)
    for plane in range(1 if gray else PLANES):
        reference = predictor.reference[plane].astype(np.int32)
        mean, scale, weight = predictor.predict(plane)
        base = (reference + green) << MEAN_BITS
        mean = _clamped(mean + base, 256 << MEAN_BITS)
        predicted = mean >> MEAN_BITS
        fraction = mean >> (MEAN_BITS - logistics.FRACTION_BITS) & (logistics.FRACTIONS - 1)
        rows = logistics.row_of(fraction, _clamped(scale, logistics.SCALES), _clamped(weight, logistics.WEIGHTS))
        held = front.values[plane].ravel().astype(np.int32) + green
        if coded is None:
            values = code(plane, rows, predicted, held)
        else:
            values = held
            values[coded] = code(plane, rows[coded], predicted[coded], held[coded])
        here = values - green
        front.values[plane] = here.reshape(shape)
        errors = predictor.update(plane, here - reference, mean - base)
        front.errors[plane] = errors.reshape(shape)
        if plane == 0:
            green = values
    if gray:
        front.values[1:], front.errors[1:] = 0, 0


def _clamped(values: Ints, end: int) -> Ints:
    """Values clamped to 0 ... end - 1, in place."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, end - 1, out=values)
