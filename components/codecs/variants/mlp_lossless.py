"""mlp_lossless: a multilayer perceptron predicts every pixel from those before it (paper 002)."""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from components.codecs.base import Codec, Scalar
from components.codecs.rate_parameter import RateParameter
from components.codecs.tensors import Reconstruction
from components.entropy.pixels import logistic_mixture as logistics
from components.entropy.pixels.causal_mlp import MEAN_BITS, PLANES, CausalMlp, FixedPointMlp
from components.entropy.pixels.rans import ByteModels
from components.entropy.pixels.residual_coder import (
    HuffmanResidualDecoder,
    HuffmanResidualEncoder,
    RansResidualDecoder,
    RansResidualEncoder,
    ResidualDecoder,
    ResidualEncoder,
)
from components.entropy.pixels.wavefront import Front, Wavefront, strips
from components.errors import BitstreamError, RatewrightError

Ints = NDArray[np.int32]
Exchange = Callable[[int, Ints, Ints, Ints], Ints]
"""(plane, rows of tables, predicted bytes, what the front holds) of coded pixels to the bytes that are there."""

_GRAY = 1
_LENGTH = struct.Struct("<I")
_TYPICAL_SCALE = 16.0  # the number of the scale that training starts from


class MlpLossless(Codec):
    """
        G, R - G, B - G --16 causal neighbours, errors so far--> MLP --> mean, scale, weight of a mixture of logistics
        (value - mean) mod 256 --tables, range coder (rANS in lanes)--> bytes, and back, front by front

    Every 8-bit picture comes back as it was; one with R = G = B everywhere takes one plane. Loss: bits per pixel. There
    is no rate parameter.

    With `coder` = huffman it is the paper's: the network predicts a value, the errors of each plane get one Huffman
    code, made for the picture. With `range`, beyond the paper, it predicts a distribution for every value.

    Departures. The paper does not say how it takes colour: here G is predicted first, then the differences R - G
    and B - G with what is already known of the pixel. A linear prediction goes beside the network. The network is
    trained in floating point and runs in integers (layers.causal).

    width, head: units of the hidden layers, before and after planes part. window: side of what training looks at of
    each patch.
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
            raise RatewrightError(f"mlp_lossless: coder is huffman or range, not {coder!r}")
        super().__init__(coder=coder, width=width, head=head, window=window)
        self.coder, self.window = coder, window
        self.mlp = CausalMlp(width, head, _TYPICAL_SCALE)
        # Of the errors of a plane, all pixels alike: what a Huffman code is made for, and nothing else uses.
        huffman = coder == "huffman"
        self.plane_scale = nn.Parameter(torch.full((PLANES,), _TYPICAL_SCALE), requires_grad=huffman)
        self.plane_weight = nn.Parameter(torch.ones(PLANES), requires_grad=huffman)
        self.register_buffer("tables", logistics.tables())

    def forward(self, x: Tensor) -> Reconstruction:
        """The picture, as it is, and its bits; in training those of a window of each, for the whole of it."""
        red, green, blue = (255 * (self._windows(x) if self.training else x)).unbind(dim=1)
        here, predictions = self.mlp(torch.stack((green, red - green, blue - green), dim=1))
        bits = torch.zeros(len(x), device=x.device)
        for plane, (mean, scale, weight) in enumerate(predictions):
            if self.coder == "huffman":
                scale, weight = self.plane_scale[plane], self.plane_weight[plane]
            bits = bits + logistics.bits(here[:, plane] - mean, scale, weight).flatten(1).mean(dim=1)
        return Reconstruction(x, bits * x[0, 0].numel())

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """No distortion, and bits per pixel."""
        return x.new_zeros(()), reconstruction.bits.mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        """The rate."""
        return rate

    def analyse(self, x: Tensor) -> Tensor:
        """The bytes of a picture."""
        return (255 * x).round().clamp(0, 255)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """The picture of its bytes."""
        return y_hat / 255

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:  # noqa: ARG002
        """One section: whether the picture is gray, then every band with its length."""
        red, green, blue = latents[0].cpu().numpy().astype(np.int16)
        planes = np.stack((green, red - green, blue - green))
        gray = not planes[1:].any()
        predictor, parts = FixedPointMlp(self.mlp), [bytes((_GRAY * gray,))]
        for rows in strips(*green.shape):
            band = planes[:, rows]
            wavefront = Wavefront(*band.shape[1:])
            wavefront.load(band)
            writer = self._writer(band[0].size, 1 if gray else PLANES)

            def encode(plane: int, tables: Ints, predicted: Ints, held: Ints, writer: ResidualEncoder = writer) -> Ints:
                writer.encode(plane, tables, ((held - predicted) & 255).astype(np.uint8))
                return held

            _sweep(wavefront, predictor, encode, gray)
            coded = writer.finish()
            parts += [_LENGTH.pack(len(coded)), coded]
        return (b"".join(parts),)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """The bytes (1, 3, H, W) of the picture."""
        if len(sections) != 1 or len(sections[0]) < 1:
            raise BitstreamError("corrupted bitstream: one section was expected")
        gray, data = sections[0][0] == _GRAY, sections[0][1:]
        predictor, planes = FixedPointMlp(self.mlp), []
        for rows in strips(height, width):
            end = _LENGTH.size + (_LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else len(data))
            coded, data = data[_LENGTH.size : end], data[end:]
            size = rows.stop - rows.start, width
            wavefront, reader = Wavefront(*size), self._reader(size[0] * width, 1 if gray else PLANES, coded)

            def decode(plane: int, tables: Ints, predicted: Ints, held: Ints, reader: ResidualDecoder = reader) -> Ints:  # noqa: ARG001
                return (predicted + reader.decode(plane, tables)) & 255

            _sweep(wavefront, predictor, decode, gray)
            reader.finish()
            planes.append(wavefront.planes())
        if data:
            raise BitstreamError("corrupted bitstream: more follows the last band")
        green, red, blue = np.concatenate(planes, axis=1)
        rgb = np.stack((red + green, green, blue + green))
        return torch.from_numpy(rgb).to(self.gain.device, torch.float32)[None]

    def kmac_per_px(self) -> tuple[float, float]:
        """The network's, which runs outside of torch, the same in both directions."""
        return self.mlp.macs / 1000, self.mlp.macs / 1000

    def _windows(self, x: Tensor) -> Tensor:
        """A square of each of (B, 3, H, W), somewhere."""
        corners = [torch.randint(max(1, side - self.window + 1), (len(x),)).tolist() for side in x.shape[-2:]]
        cut = [one[:, y : y + self.window, z : z + self.window] for one, y, z in zip(x, *corners, strict=True)]
        return torch.stack(cut)

    def _writer(self, pixels: int, planes: int) -> ResidualEncoder:
        return (
            HuffmanResidualEncoder(planes)
            if self.coder == "huffman"
            else RansResidualEncoder(_models(self.tables), pixels)
        )

    def _reader(self, pixels: int, planes: int, data: bytes) -> ResidualDecoder:
        if self.coder == "huffman":
            return HuffmanResidualDecoder(planes, pixels, data)
        return RansResidualDecoder(_models(self.tables), pixels, data)


def _models(tables: Tensor) -> ByteModels:
    return _models_of(tables.cpu().numpy().tobytes())


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=2)
def _models_of(tables: bytes) -> ByteModels:
    return ByteModels(np.frombuffer(tables, np.int16).reshape(-1, 256))


def _sweep(wavefront: Wavefront, predictor: FixedPointMlp, exchange: Exchange, gray: bool) -> None:
    """Go through a band: predict every front, exchange residuals, and leave the values in the wavefront."""
    with _libraries().limit(limits=1, user_api="blas"):  # which threads make slower: fronts are small
        for front in wavefront.walk():
            _exchange(front, predictor, exchange, gray)


def _exchange(front: Front, predictor: FixedPointMlp, exchange: Exchange, gray: bool) -> None:
    """Predict one front, plane by plane, and fill it in."""
    predictor.start(front.context, front.context_errors)
    shape, coded = front.values.shape[1:], front.coded
    green: Ints = np.zeros(shape[0] * shape[1], dtype=np.int32)
    for plane in range(1 if gray else PLANES):
        reference = predictor.reference[plane].astype(np.int32)
        mean, scale, weight = predictor.predict(plane)
        base = (reference + green) << MEAN_BITS
        mean = _between(mean + base, 256 << MEAN_BITS)
        predicted = mean >> MEAN_BITS
        fraction = mean >> (MEAN_BITS - logistics.FRACTION_BITS) & (logistics.FRACTIONS - 1)
        rows = logistics.row_of(fraction, _between(scale, logistics.SCALES), _between(weight, logistics.WEIGHTS))
        held = front.values[plane].ravel().astype(np.int32) + green
        if coded is None:
            values = exchange(plane, rows, predicted, held)
        else:
            values = held
            values[coded] = exchange(plane, rows[coded], predicted[coded], held[coded])
        here = values - green
        front.values[plane] = here.reshape(shape)
        errors = predictor.update(plane, here - reference, mean - base)
        front.errors[plane] = errors.reshape(shape)
        if plane == 0:
            green = values
    if gray:
        front.values[1:], front.errors[1:] = 0, 0


def _between(values: Ints, end: int) -> Ints:
    """Values moved to 0 ... end - 1."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, end - 1, out=values)
