"""The hyperprior: side information z tells the decoder how each element of the latents y is distributed.

    z_hat -> psi -> (context, pass by pass) -> distribution of y -> range coder

Everything from z_hat to the distribution runs in integers (components.layers.fixed_point), so the symbols that one
machine codes are those that any other decodes. With a context the elements are coded in two passes, the squares of one
colour of a checkerboard, then those of the other knowing the first (He et al. 2021): two steps for any size of picture.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from components.entropy.conditional import GaussianConditional, GaussianMixtureConditional
from components.entropy.gain import FACTOR_BITS, GainVector, pack_shift, unpack_shift
from components.entropy.hyper_latents import HyperLatents
from components.entropy.range_coder import SymbolDecoder, SymbolEncoder
from components.entropy.rdo_quantisation import rdo_quantised
from components.entropy.relaxation import (
    EntropyOutput,
    add_uniform_noise,
    constant_log_gain,
    element_bits,
    position_bits,
    round_straight_through,
    sample_log_gain,
)
from components.layers.fixed_point import UNIT, fixed_point_forward, to_fixed_point
from components.layers.hyper import entropy_parameters

_Pass = Callable[[Tensor], Tensor]  # the parameters of some latents to these, quantised


class HyperPrior(nn.Module):
    """Rate of latents y (B, C, h, w), h and w multiples of 4, and their coding to bytes.

    hyper_channels: of z, at a quarter of the resolution. features: of what it tells about each element.
    context: side of the context model's kernel, or 0 for none. components: of the Gaussian mixture.
    gain_range: training draws the logarithm of each image's gain from -gain_range to gain_range.
    """

    def __init__(
        self,
        channels: int,
        *,
        hyper_channels: int,
        features: int,
        context: int = 0,
        components: int = 1,
        gain_range: float = 0.0,
    ):
        super().__init__()
        self.side = HyperLatents(channels, hyper_channels, features)
        self.gains = GainVector(channels)
        self.symbols: GaussianConditional | GaussianMixtureConditional = (
            GaussianConditional() if components == 1 else GaussianMixtureConditional(components)
        )
        self.gain_range = gain_range
        self.integers = True  # in evaluation; to see what they cost
        outputs = channels * self.symbols.parameters_each
        self.context: nn.Sequential | None = None
        inputs = features
        if context:
            self.context = nn.Sequential(nn.Conv2d(channels, features, context, padding=context // 2))
            inputs = 2 * features
        self.parameters_net = entropy_parameters(inputs, outputs)

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """In float32: noisy in training for the rate, rounded straight-through for the picture and the context.

        In evaluation latents and distributions are those of `encode`, and the gain is `gain`.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            integers = not self.training and self.integers
            psi, bits = self.side(y, integers=integers)
            log_gain = sample_log_gain(y, self.gain_range) if self.training else constant_log_gain(y, gain)
            gains = self.gains(log_gain)
            told = []

            def coded(targets: Tensor, parameters: Tensor) -> Tensor:
                if integers:
                    parameters = (parameters / UNIT).float()
                centre = self.symbols.centre(parameters)
                if self.training:
                    y_hat = round_straight_through((targets - centre) * gains) / gains + centre
                    at = add_uniform_noise(targets, 1 / gains)
                else:
                    y_hat = at = self._decided(targets, parameters, gains) / gains + centre
                told.append(position_bits(self.symbols.likelihood(parameters, at, gains))[:, None])
                return to_fixed_point(y_hat) if integers else y_hat

            y_hat = self._coded(psi, [partial(coded, half) for half in self._passes(y)], integers)
            bits = bits + (checkerboard_merge(*told) if self.context else told[0])[:, 0]
            return EntropyOutput((y_hat / UNIT).float() if integers else y_hat, bits, log_gain)

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: the shift of the gain, z and y (1, C, h, w)."""
        encoder, shift = SymbolEncoder(), self.gains.shift_of(gain)
        quantiser = self.gains.quantiser(shift)
        gains = (quantiser.gain / 2**FACTOR_BITS).float()[None]
        psi = self.side.encode(encoder, y)

        def encode(targets: Tensor, parameters: Tensor) -> Tensor:
            symbols = self._decided(targets, (parameters / UNIT).float(), gains)
            return self.symbols.encode(encoder, quantiser, symbols.double(), parameters)

        self._coded(psi, [partial(encode, half) for half in self._passes(y.float())], integers=True)
        return (pack_shift(shift) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The quantised latents (1, C, h, w). Raises BitstreamError."""
        shift, data = unpack_shift(sections)
        quantiser, decoder = self.gains.quantiser(shift), SymbolDecoder(data)
        psi = self.side.decode(decoder, *shape[1:])
        decode = partial(self.symbols.decode, decoder, quantiser)
        return (self._coded(psi, [decode] * (2 if self.context else 1), integers=True) / UNIT).float()

    def _decided(self, y: Tensor, parameters: Tensor, gains: Tensor) -> Tensor:
        """The symbols of y that an encoder sends: whole steps of 1 / gains from the centre."""
        centre = self.symbols.centre(parameters)

        def bits(steps: Tensor) -> Tensor:
            return element_bits(self.symbols.likelihood(parameters, steps / gains + centre, gains))

        return rdo_quantised((y - centre) * gains, bits)

    def _passes(self, y: Tensor) -> tuple[Tensor, ...]:
        return checkerboard_split(y) if self.context else (y,)

    def _coded(self, psi: Tensor, passes: Sequence[_Pass], integers: bool) -> Tensor:
        """Each pass turns its parameters into quantised latents; all of them as one tensor."""

        def parameters_of(x: Tensor) -> Tensor:
            typical = self.symbols.from_statistics(self.side.typical.mean, self.side.typical.log_scale)[:, None, None]
            if integers:
                return fixed_point_forward(self.parameters_net, x) + to_fixed_point(typical)
            out: Tensor = self.parameters_net(x) + typical
            return out

        if self.context is None:
            return passes[0](parameters_of(psi))
        first_psi, second_psi = checkerboard_split(psi)
        first = passes[0](parameters_of(torch.cat((first_psi, torch.zeros_like(first_psi)), dim=1)))
        seen = self.side.typical.normalise_fixed_point(first) if integers else self.side.typical.normalise(first)
        seen = checkerboard_merge(seen, torch.zeros_like(seen))
        around = checkerboard_split(fixed_point_forward(self.context, seen) if integers else self.context(seen))[1]
        second = passes[1](parameters_of(torch.cat((second_psi, around), dim=1)))
        return checkerboard_merge(first, second)


def checkerboard_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two colours of the checkerboard over (B, C, h, w), h and w even, each as (B, C, h, w / 2)."""
    first = torch.stack((x[..., 0::2, 0::2], x[..., 1::2, 1::2]), dim=2)
    second = torch.stack((x[..., 0::2, 1::2], x[..., 1::2, 0::2]), dim=2)
    return first.flatten(2, 3), second.flatten(2, 3)


def checkerboard_merge(first: Tensor, second: Tensor) -> Tensor:
    """The inverse of `checkerboard_split`."""
    (a, d), (b, c) = (half.chunk(2, dim=2) for half in (first, second))
    top, bottom = (torch.stack(pair, dim=-1).flatten(-2) for pair in ((a, b), (c, d)))
    return torch.stack((top, bottom), dim=-2).flatten(-3, -2)
