"""Mean-scale hyperprior, with or without a context model; components.coding.hyperprior has it in use, in integers.

Hyperprior: Ballé et al. 2018; mean and scale, joint context model: Minnen, Ballé and Toderici 2018; context in two
passes: He et al., CVPR 2021 (arXiv 2103.15306); Gaussian mixtures: Cheng et al. 2020.

    y --h_a--> z --round--> z_hat ==> range coder (factorized prior)
                              |
                             h_s                                    (without context: one pass over all positions)
                              v
                             psi --entropy parameters--> distribution of pass 0 ==> range coder --> y_hat of pass 0
                              |                                                                        |
                              |                                              context convolution <-----+
                              v                                                      |
                             psi, context --entropy parameters--> distribution of pass 1 ==> range coder

A context model takes two steps, or five, for any size of picture, where a context in raster order takes one for every
position.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..coding.conditional import SQUARES_PER_BIT
from ..coding.hyperprior import INVERSE_BITS, HyperPriorCoder, HyperPriorStructure
from ..layers.hyper import entropy_parameters
from .channel_groups import ChannelGroups
from .conditional import GaussianConditional, GaussianMixtureConditional
from .context import ContextModel, NoContext
from .gain import GainVector
from .hyper_latents import HyperLatents
from .integers import CodingModule, Integers, fixed_point, layers
from .rdo_quantisation import rdo_quantised
from .refinement import REFINED_SQUARES_PER_BIT, Relaxation, moved_near
from .relaxation import (
    EntropyOutput,
    GainRange,
    add_uniform_noise,
    constant_log_gain,
    element_bits,
    position_bits,
    round_straight_through,
    sample_log_gain,
)

_Pass = Callable[[Tensor, slice], Tensor]  # parameters of some channels in a pass to these latents, quantised


class HyperPrior(CodingModule[HyperPriorCoder]):
    """Entropy model of latents y (B, channels, h, w), h and w multiples of 4: rate in training, bytes in use.

    Args:
        channels: of y.
        hyper_channels: of z, at a quarter of the resolution.
        features: of psi, and of the context.
        context: makes the context model of so many channels; None for none.
        groups: channels of each group that is coded at once, in order; none for all together.
        components: Gaussians in the mixture of each element.
        gain_range: training draws the log-gain of each image from it: -gain_range to gain_range, or a pair of ends.
    """

    def __init__(
        self,
        channels: int,
        *,
        hyper_channels: int,
        features: int,
        context: Callable[[int], ContextModel] | None = None,
        groups: Sequence[int] = (),
        components: int = 1,
        gain_range: GainRange = 0.0,
    ):
        """Raises ValueError for groups that are not the channels."""
        super().__init__()
        self.side = HyperLatents(channels, hyper_channels, features)
        self.gains = GainVector(channels)
        self.symbols: GaussianConditional | GaussianMixtureConditional = (
            GaussianConditional() if components == 1 else GaussianMixtureConditional(components)
        )
        self.gain_range = gain_range
        self.hard = False  # training sees the latents of `encode`, see `fix_encoder`
        each = self.symbols.parameters_each
        self.context: ContextModel = context(channels) if context is not None else NoContext()
        inputs = features + self.context.features
        self.parameters_net = entropy_parameters(inputs, channels * each)
        if groups and sum(groups) != channels:
            raise ValueError(f"groups of {' + '.join(map(str, groups))} channels are not the {channels} of the latents")
        self.groups = ChannelGroups(groups or (channels,), inputs, each)

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Quantised latents and their estimated rate, in float32.

        Training uses additive noise for the rate, and straight-through rounding for the picture and the context; after
        `fix_encoder` it uses the latents of `encode`. In evaluation latents and distributions are those of `encode`.

        Args:
            y: (B, channels, h, w).
            gain: of every image in evaluation; the quantiser step is 1 / gain.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            if not self.training:
                estimated = self.side.estimated(y, partial(self.coder.estimate, gain=gain))
                return EntropyOutput(*estimated, constant_log_gain(y, gain))
            psi, side_bits = self.side(y, soft=not self.hard)
            log_gain = sample_log_gain(y, self.gain_range)
            gains = self.gains(log_gain)
            parts = self.context.split(y)
            bits: list[list[Tensor]] = [[] for _ in parts]

            def quantise(targets: Tensor, bits: list[Tensor], parameters: Tensor, channels: slice) -> Tensor:
                y_hat, relaxed = self._quantise(targets[:, channels], parameters, gains[:, channels])
                bits.append(position_bits(self.symbols.likelihood(parameters, relaxed, gains[:, channels])))
                return y_hat

            y_hat = self._run_passes(psi, [partial(quantise, *each) for each in zip(parts, bits, strict=True)])
            of_passes = [torch.stack(each).sum(dim=0)[:, None] for each in bits]
            return EntropyOutput(y_hat, side_bits + self.context.merge(of_passes)[:, 0], log_gain)

    def fix_encoder(self) -> None:
        """Train the decoder's part alone from now on, on latents as `encode` has them."""
        self.hard = True
        self.side.h_a.requires_grad_(False)

    def hyper_latents(self, y: Tensor) -> Tensor:
        """z (B, hyper_channels, h / 4, w / 4) of latents y (B, channels, h, w), before rounding."""
        return self.side.analyse(y)

    def relaxed(self, y: Tensor, z: Tensor, gain: float, relax: Relaxation) -> tuple[Tensor, Tensor]:
        """Latents and their bits with `relax` in place of rounding, in floats, with gradients to y and z.

        Args:
            y: (B, channels, h, w).
            z: from `hyper_latents`.
            gain: the quantiser step is 1 / gain.
            relax: in place of rounding.

        Returns:
            y_hat (B, channels, h, w), and the bits (B,) of it and of z.
        """
        gains = self.gains(constant_log_gain(y, gain))
        psi, side_bits = self.side.relaxed(z, relax)
        bits = [side_bits]

        def quantise(targets: Tensor, parameters: Tensor, channels: slice) -> Tensor:
            centre, own = self.symbols.centre(parameters), gains[:, channels]
            y_hat: Tensor = relax((targets[:, channels] - centre) * own) / own + centre
            bits.append(position_bits(self.symbols.likelihood(parameters, y_hat, own)).flatten(1).sum(dim=1))
            return y_hat

        y_hat = self._run_passes(psi, [partial(quantise, part) for part in self.context.split(y)])
        return y_hat, torch.stack(bits).sum(dim=0)

    def near_decisions(self, y: Tensor, z: Tensor, gain: float) -> Tensor:
        """Latents y (B, channels, h, w), moved near the symbols that `encode` sends for them, as `refine` starts."""
        gains = self.gains(constant_log_gain(y, gain))
        psi, _ = self.side.relaxed(z, torch.round)
        parts = self.context.split(y)
        moved: list[list[Tensor]] = [[] for _ in parts]

        def decide(targets: Tensor, moved: list[Tensor], parameters: Tensor, channels: slice) -> Tensor:
            centre, own = self.symbols.centre(parameters), gains[:, channels]
            symbols = self._rdo_quantised(targets[:, channels], parameters, own)
            moved.append(moved_near((targets[:, channels] - centre) * own, symbols) / own + centre)
            y_hat: Tensor = symbols / own + centre
            return y_hat

        self._run_passes(psi, [partial(decide, *each) for each in zip(parts, moved, strict=True)])
        return self.context.merge([torch.cat(each, dim=1) for each in moved])

    def coding_parts(self) -> tuple[HyperPriorStructure, Integers]:
        """What a HyperPriorCoder is made of."""
        running = self.side.typical
        h_s, side = layers(self.side.h_s, "h_s")
        parameters, of_all = layers(self.parameters_net, "parameters")
        groups = [layers(net, f"groups.{number}") for number, net in enumerate(self.groups.networks)]
        context, of_context = self.context.coding_parts()
        structure = HyperPriorStructure(
            h_s=h_s,
            parameters=parameters,
            groups=[names for names, _ in groups],
            channels=[channels.stop - channels.start for channels in self.groups.channels],
            context=context,
            components=1 if isinstance(self.symbols, GaussianConditional) else self.symbols.components,
        )
        integers: Integers = {
            "running.mean": fixed_point(running.mean),
            "running.inverse_scale": fixed_point(running.inverse_scale, INVERSE_BITS),
            "offset": fixed_point(self.symbols.from_statistics(running.mean, running.log_scale)),
        }
        tables = self.side.prior.integers(), self.gains.integers(), self.symbols.tables.integers()
        for further in (side, of_all, *(each for _, each in groups), of_context, *tables):
            integers.update(further)
        return structure, integers

    def new_coder(self) -> HyperPriorCoder:
        """See CodingModule."""
        return HyperPriorCoder(*self.coding_parts())

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Latents y (1, channels, h, w), quantised with steps of 1 / gain, to one section: shift of the gain, z, y."""
        return self._encode(y, self.hyper_latents(y), gain, SQUARES_PER_BIT)

    def encode_rounded(self, y: Tensor, z: Tensor, gain: float) -> tuple[bytes, ...]:
        """`encode` without decisions: every element of y and of the hyper-latents z goes to the nearest integer."""
        return self._encode(y, z, gain, 0.0)

    def encode_refined(self, y: Tensor, z: Tensor, gain: float) -> tuple[bytes, ...]:
        """`encode` of refined y and z: what remains to be decided is little, and bits weigh less in it."""
        return self._encode(y, z, gain, REFINED_SQUARES_PER_BIT)

    def _encode(self, y: Tensor, z: Tensor, gain: float, squares_per_bit: float) -> tuple[bytes, ...]:
        latents, side = (each[0].double().cpu().numpy() for each in (y, z))
        return self.coder.encode(latents, side, gain, squares_per_bit)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: quantised latents (1, *shape). Raises BitstreamError."""
        y_hat = torch.from_numpy(self.coder.decode(sections, shape))
        return y_hat[None].to(self.side.typical.mean.device).float()

    def _quantise(self, y: Tensor, parameters: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents, and the latents whose likelihood is the rate: noisy in soft training, else the same."""
        centre = self.symbols.centre(parameters)
        if not self.hard:
            y_hat = round_straight_through((y - centre) * gains) / gains + centre
            return y_hat, add_uniform_noise(y, 1 / gains)
        with torch.no_grad():
            symbols = self._rdo_quantised(y, parameters, gains)
        y_hat = symbols / gains + centre
        return y_hat, y_hat.detach()

    def _rdo_quantised(self, y: Tensor, parameters: Tensor, gains: Tensor) -> Tensor:
        """The symbols of y that an encoder sends: whole steps of 1 / gains from the centre."""
        centre = self.symbols.centre(parameters)

        def bits(steps: Tensor) -> Tensor:
            return element_bits(self.symbols.likelihood(parameters, steps / gains + centre, gains))

        return rdo_quantised((y - centre) * gains, bits)

    def _run_passes(self, psi: Tensor, passes: Sequence[_Pass]) -> Tensor:
        """Quantised latents (B, channels, h, w), pass after pass."""
        running = self.side.typical
        offset = self.symbols.from_statistics(running.mean, running.log_scale)[:, None, None]
        parts: list[Tensor] = []
        for part, quantised in zip(self.context.split(psi), passes, strict=True):
            context = self.context.of(parts, part, running)
            features = torch.cat((part, context.features), dim=1)
            parameters = self.parameters_net(features) + offset
            if isinstance(context.mean, Tensor):
                parameters = self.symbols.shifted(parameters, context.mean)
            coded: list[Tensor] = []
            for group, channels in enumerate(self.groups.channels):
                own = self.groups.parameters_of(group, parameters, features, coded, running)
                coded.append(quantised(own, channels))
            parts.append(torch.cat(coded, dim=1))
        return self.context.merge(parts)
