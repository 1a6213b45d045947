"""Running mean and scale of each latent channel, from which entropy models start."""

import torch
from torch import Tensor, nn

_MOMENTUM = 0.01
_SMALLEST_SCALE = 2.0**-6


class RunningStatistics(nn.Module):
    """Mean and logarithm of the scale of each of C latent channels, averaged over training as in batch normalisation.

    Scales of channels differ by orders of magnitude, as those of cosine coefficients do. An optimiser would need
    thousands of steps to move biases that far. An entropy model that predicts the difference from these statistics, and
    sees latents normalised by them, starts as one Gaussian for each channel.

    Buffers: `mean`, `log_scale`, `inverse_scale` (C,); `batches` (), the number of updates.
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
        """Average latents y (B, C, h, w) in: with equal weight for the first 100 batches, then with momentum 0.01."""
        self.batches += 1
        share = (1 / self.batches).clamp_min(_MOMENTUM)
        variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        self.mean.lerp_(mean, share)
        self.log_scale.lerp_(variance.sqrt().clamp_min(_SMALLEST_SCALE).log(), share)
        self.inverse_scale.copy_((-self.log_scale).exp())

    def normalise(self, y: Tensor) -> Tensor:
        """(y - mean) / scale of latents y (B, c, h, w), which are the first c of the C channels."""
        mean, inverse = self.mean[: y.shape[1]], self.inverse_scale[: y.shape[1]]
        return (y - mean[:, None, None]) * inverse[:, None, None]
