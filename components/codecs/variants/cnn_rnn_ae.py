"""CNN-RNN-AE: a convolutional recurrent autoencoder that codes residuals in rounds (paper 002; Sidpara and Makadia)."""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...coding.range_coder import SymbolDecoder, SymbolEncoder
from ...entropy.factorized_prior import FactorizedPrior
from ...entropy.relaxation import add_uniform_noise, round_straight_through
from ...errors import BitstreamError, RatewrightError
from ...layers.haar_initialisation import haar_packet, initialise_downsampling, initialise_upsampling
from ...layers.recurrent import RecurrentResidual
from ..base import Codec, Scalar
from ..families.transform import GAIN_TO_WEIGHT, RATE_OVER_GAIN
from ..rate_parameter import RateParameter
from ..tensors import Reconstruction

_CHANNEL_COUNT = struct.Struct("<H")
_STEP_RATIO = 2.0  # quantiser step of a round over that of the next one
_LATENT_SCALE = 2.0  # of the first round: transforms give values of about 1
_CELL_POSITION = 3  # the recurrent cell precedes this convolution, and follows its mirror: at 1/8


class Round(NamedTuple):
    """One round of coding.

    Attributes:
        y: (B, M, h, w), the code before rounding.
        y_hat: (B, M, h, w), the symbols.
        x_hat: (B, 3, H, W) on [-1, 1], the picture after this round.
    """

    y: Tensor
    y_hat: Tensor
    x_hat: Tensor


class CnnRnnAe(Codec):
    """A convolutional autoencoder with recurrent cells that codes the residual of the picture in rounds.

        r_k = x - x_hat_(k-1)                                            the residual before round k
        r_k --3 convs, stride 2--> ConvGRU --conv, stride 2--> y_k (M at 1/16) --round--> y_hat_k
        y_hat_k --a learned density for each channel of round k--> range coder --> bytes
        x_hat_k = x_hat_(k-1) + mirror(y_hat_k), with a ConvGRU of its own

    P. Sidpara and P. Makadia, "Image Compression using Deep Learning: Lossless (MLP) & Lossy (Auto-encoder & GAN)",
    project report, after G. Toderici et al., "Full Resolution Image Compression with Recurrent Neural Networks", CVPR
    2017. The loss is the mean over rounds of

        (bits per pixel + lmbda_k * 255^2 * MSE of x_hat_k) / rate to expect,    lmbda_k = 4^k * lmbda

    because every round has twice the precision of the one before. The number of rounds sets the rate. The last round
    may hold its first channels alone, so a gain is a number of channels: those of all rounds that are sent.

    Departures: Toderici et al. send signs. Here symbols are integers with a density of their own, so that what a round
    has no use for costs next to nothing. A round without symbols changes nothing. Transforms start as a Haar wavelet
    packet and its inverse, and cells start with little influence.

    Args:
        N: channels at 1/4 and 1/8.
        M: channels of the code of one round.
        rounds: the largest number of rounds.
        lmbda: of the first round.
    """

    name: ClassVar[str] = "cnn_rnn_ae"
    paper_results: ClassVar[str] = "CIFAR-10: 31.4 dB; high-resolution pictures: 30.2 dB, SSIM 0.972; no rates"
    rate_parameter: ClassVar[RateParameter] = RateParameter(
        "rounds", "bits per pixel + lmbda_k * 255^2 * MSE", raises_rate=True, set_in_training=False
    )
    stride = 16
    latent_stride = 16
    halo: ClassVar[int] = 256

    def __init__(self, N: int = 64, M: int = 96, rounds: int = 4, lmbda: float = 0.001) -> None:
        if not 1 <= rounds * M < 1 << 16:
            raise RatewrightError(f"cnn_rnn_ae: rounds * M must be from 1 to 65535, not {rounds * M}")
        super().__init__(N=N, M=M, rounds=rounds, lmbda=lmbda)
        self.latent_channels, self.rounds, self.lmbda = M, rounds, lmbda
        widths = (12, N, N, M)
        downs, ups = [], []
        for (inputs, outputs), stage in zip(pairwise((3, *widths)), haar_packet(widths), strict=True):
            down, up = nn.Conv2d(inputs, outputs, 4, 2, padding=1), nn.ConvTranspose2d(outputs, inputs, 4, 2, padding=1)
            initialise_downsampling(down, stage)
            initialise_upsampling(up, stage)
            downs.append(down)
            ups.append(up)
        self.encoder = nn.ModuleList(downs)
        self.decoder = nn.ModuleList(ups[::-1])
        self.encoder_cell, self.decoder_cell = RecurrentResidual(N), RecurrentResidual(N)
        self.priors = nn.ModuleList(FactorizedPrior(M) for _ in range(rounds))
        self.gain.fill_(self.operating_points[0][-1])

    @property
    def operating_points(self) -> tuple[range, ...]:
        """The numbers of channels that can be sent."""
        return (range(1, self.rounds * self.latent_channels + 1),)

    def describe(self, gain: float) -> str:
        """Last round and its channels in words."""
        before, channel = divmod(int(gain) - 1, self.latent_channels)
        return f"round {before + 1}, {channel + 1} of {self.latent_channels} channels"

    def forward(self, x: Tensor) -> Reconstruction:
        """In training `x_hat` (rounds, B, 3, H, W) and `bits` (rounds, B) after each round; else those of the gain."""
        if not self.training:
            y_hat = self._first_channels(self.analyse(x), int(self.gain.item()))
            return Reconstruction(self.synthesise(y_hat), self._bits(y_hat.chunk(self.rounds, dim=1))[-1])
        rounds = list(self._code(x))
        pictures = torch.stack([each.x_hat for each in rounds])
        return Reconstruction((pictures + 1) / 2, self._bits([add_uniform_noise(each.y) for each in rounds]))

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """lmbda_k * 255^2 * MSE and bits per pixel, both over the rate to expect: means over rounds and pictures."""
        if reconstruction.bits.ndim == 1:
            round_numbers = x.new_tensor([(self.gain.item() - 1) // self.latent_channels])
        else:
            round_numbers = torch.arange(self.rounds, device=x.device)[:, None]
        error = (x - reconstruction.x_hat).square().mean(dim=(-3, -2, -1))
        share = _STEP_RATIO ** (-RATE_OVER_GAIN * round_numbers)
        distortion = self.lmbda * 255**2 * error * _STEP_RATIO ** (GAIN_TO_WEIGHT * round_numbers)
        return (share * distortion).mean(), (share * reconstruction.bits).mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        """The sum of both: lambda is in the distortion already."""
        return rate + distortion

    def analyse(self, x: Tensor) -> Tensor:
        """The symbols of all rounds: (B, 3, H, W) to (B, rounds * M, h, w)."""
        return torch.cat([each.y_hat for each in self._code(x)], dim=1)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """The sum of all rounds: (B, rounds * M, h, w) to (B, 3, H, W)."""
        picture, state = None, None
        for code, scale in zip(y_hat.chunk(self.rounds, dim=1), self._scales(), strict=True):
            added, state = self._decode(code / scale, state)
            picture = added if picture is None else picture + added
        assert picture is not None
        return (picture + 1) / 2

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:
        """`bits`: bits per pixel at each position, for the channels that are sent at the codec's own gain."""
        gain = int(self.gain.item())
        codes = torch.split(self.latents(x)[:, :gain], self.latent_channels, dim=1)
        with torch.inference_mode():
            bits = [
                prior.bits(F.pad(code, (0, 0, 0, 0, 0, self.latent_channels - code.shape[1])))
                for prior, code in zip(self._priors(), codes, strict=False)
            ]
            return {"bits": torch.stack(bits).sum(dim=0)[0] / self.latent_stride**2}

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: the number of channels, u16, and their symbols."""
        count = int(gain)
        symbols = latents[0].flatten(1).round().int().cpu().numpy()
        encoder = SymbolEncoder()
        for prior, first in zip(self._priors(), range(0, count, self.latent_channels), strict=False):
            channels = slice(min(self.latent_channels, count - first))
            prior.encode(encoder, symbols[first : first + self.latent_channels], channels=channels)
        return (_CHANNEL_COUNT.pack(count) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        """The symbols of all rounds (1, rounds * M, h, w), zero where they were not sent. Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < _CHANNEL_COUNT.size:
            raise BitstreamError("corrupted bitstream: one section with a number of channels was expected")
        (count,) = _CHANNEL_COUNT.unpack_from(sections[0])
        if count not in self.operating_points[0]:
            raise BitstreamError(f"corrupted bitstream: the gain is {count}, which names no number of channels")
        decoder = SymbolDecoder(sections[0][_CHANNEL_COUNT.size :])
        shape = (self.latent_channels, height // self.latent_stride, width // self.latent_stride)
        symbols = np.zeros((self.rounds, *shape), dtype=np.int32)
        for number, (prior, first) in enumerate(
            zip(self._priors(), range(0, count, self.latent_channels), strict=False)
        ):
            channels = slice(min(self.latent_channels, count - first))
            symbols[number] = prior.decode(decoder, shape[1] * shape[2], channels=channels).reshape(shape)
        return torch.from_numpy(symbols).to(self.gain).flatten(0, 1)[None]

    def _code(self, x: Tensor) -> Iterator[Round]:
        """Code pictures (B, 3, H, W) in [0, 1], round by round."""
        target = 2 * x - 1
        picture, encoder_state, decoder_state = torch.zeros_like(target), None, None
        for scale in self._scales():
            code = target - picture
            for number, down in enumerate(self.encoder):
                if number == _CELL_POSITION:
                    code, encoder_state = self.encoder_cell(code, encoder_state)
                code = down(code)
            y = scale * code.float()
            y_hat = round_straight_through(y)
            added, decoder_state = self._decode(y_hat / scale, decoder_state)
            picture = picture + added
            yield Round(y, y_hat, picture)

    def _decode(self, code: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The picture that a round adds, on [-1, 1], and the cell's next state.

        A round without symbols adds zero and leaves the state as it was.
        """
        has_symbols = code.detach().abs().amax(dim=(1, 2, 3), keepdim=True) > 0
        out, before = code, state
        for number, up in enumerate(self.decoder):
            out = up(out)
            if number == len(self.decoder) - 1 - _CELL_POSITION:
                out, state = self.decoder_cell(out, state)
        assert state is not None
        unchanged = torch.zeros_like(state) if before is None else before
        return out.float() * has_symbols, torch.where(has_symbols, state, unchanged)

    def _bits(self, codes: Sequence[Tensor]) -> Tensor:
        """(rounds, B): the bits of each picture up to each round, for the codes (B, M, h, w) of the rounds."""
        with torch.autocast(codes[0].device.type, enabled=False):
            bits = [prior.bits(code.float()) for prior, code in zip(self._priors(), codes, strict=True)]
            return torch.stack([each.flatten(1).sum(dim=1) for each in bits]).cumsum(dim=0)

    def _first_channels(self, y_hat: Tensor, count: int) -> Tensor:
        """y_hat with its first `count` channels; the others are zero."""
        return y_hat * (torch.arange(y_hat.shape[1], device=y_hat.device) < count)[:, None, None]

    def _scales(self) -> list[float]:
        """One over the quantiser step, for each round."""
        return [_LATENT_SCALE * _STEP_RATIO**number for number in range(self.rounds)]

    def _priors(self) -> Iterator[FactorizedPrior]:
        for prior in self.priors:
            assert isinstance(prior, FactorizedPrior)
            yield prior
