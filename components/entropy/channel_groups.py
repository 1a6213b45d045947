"""Channel groups: the channels of a position are coded group after group, and each knows the ones before it."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from ..layers.hyper import entropy_parameters
from .running_statistics import RunningStatistics


class ChannelGroups(nn.Module):
    """Uneven groups of channels, after ELIC (He et al., CVPR 2022, arXiv 2203.10886).

    The first group has the distributions of its pass. A network for each further one corrects those of its channels, by
    the latents of the groups before it at the same positions.

    Args:
        sizes: channels of each group.
        features: of a pass: those of psi and of its context.
        parameters_each: of an element's distribution.
    """

    def __init__(self, sizes: Sequence[int], features: int, parameters_each: int):
        super().__init__()
        ends = [*accumulate(sizes)]
        self.channels = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._each = parameters_each
        self.networks = nn.ModuleList(
            entropy_parameters(before + features, parameters_each * size)
            for before, size in zip(ends[:-1], sizes[1:], strict=True)
        )
        with torch.no_grad():  # a codec that gets groups begins as it was without
            for network in self.networks:
                assert isinstance(network, nn.Sequential)
                for parameter in network[-1].parameters():
                    parameter.zero_()

    def parameters_of(
        self,
        group: int,
        parameters: Tensor,
        features: Tensor,
        before: list[Tensor],
        statistics: RunningStatistics,
    ) -> Tensor:
        """Entropy parameters of one group (B, parameters_each * size, h, w).

        Args:
            group: its number.
            parameters: of the pass, for all channels (B, parameters_each * C, h, w).
            features: of the pass (B, F, h, w).
            before: latents of the groups before it.
            statistics: normalises latents.
        """
        by_channel = parameters.view(len(parameters), self._each, -1, *parameters.shape[2:])
        own = by_channel[:, :, self.channels[group]].flatten(1, 2)
        if not before:
            return own
        known = statistics.normalise(torch.cat(before, dim=1))
        corrections: Tensor = self.networks[group - 1](torch.cat((known, features), dim=1))
        return own + corrections
