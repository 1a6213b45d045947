"""What latents are like as a rule, channel by channel: where a prior starts from."""

import torch
from torch import Tensor, nn

from components.layers.fixed_point import rounding_shift, to_fixed_point

_MOMENTUM = 0.01
_SMALLEST_SCALE = 2.0**-6
_INVERSE_BITS = 16


class RunningStatistics(nn.Module):
    """Mean and scale of each of C channels of the latents, averaged over training.

    Channels differ by orders of magnitude (of cosine coefficients, the first from the last), more than an optimiser
    moves biases in thousands of steps. A prior that predicts the difference from these figures, and sees latents in
    units of them, starts from a Gaussian for each channel instead of from nothing.
    """

    mean: Tensor
    log_scale: Tensor
    inverse_scale: Tensor
    batches: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("log_scale", torch.zeros(channels))
        self.register_buffer("inverse_scale", torch.ones(channels))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, y: Tensor) -> None:
        """Average latents y (B, C, h, w) in: the first batches alike, then the newer the more."""
        self.batches += 1
        share = (1 / self.batches).clamp_min(_MOMENTUM)
        variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        self.mean.lerp_(mean, share)
        self.log_scale.lerp_(variance.sqrt().clamp_min(_SMALLEST_SCALE).log(), share)
        self.inverse_scale.copy_((-self.log_scale).exp())

    def normalise(self, y: Tensor) -> Tensor:
        """Latents (B, C, h, w) in units of their scale from their mean."""
        return (y - self.mean[:, None, None]) * self.inverse_scale[:, None, None]

    def normalise_fixed_point(self, y: Tensor) -> Tensor:
        """`normalised` in the fixed point of exact networks."""
        mean, inverse = to_fixed_point(self.mean), to_fixed_point(self.inverse_scale, _INVERSE_BITS)
        return rounding_shift((y - mean[:, None, None]) * inverse[:, None, None], _INVERSE_BITS)
