"""Real rate of a codec: bits of whole bitstreams, headers included, over pixels."""

import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..arrays import Rgb
from ..codecs.base import Codec
from ..codecs.coder import Coder, cheaper_stream, drawing_for
from ..codecs.palette import Drawing
from ..codecs.tensors import to_tensor
from ..metrics.quality import psnr_db


def bpp_of(coder: Coder, pictures: Iterable[Rgb]) -> float:
    """Measure bits per pixel of real files: total bits over total pixels."""
    size, pixels = 0, 0
    for rgb in pictures:
        size += len(coder.encode(rgb))
        pixels += rgb.shape[0] * rgb.shape[1]
    return 8 * size / pixels


def rate_and_psnr(coder: Coder, pictures: Sequence[Rgb]) -> tuple[float, float | None]:
    """Measure bits per pixel (total over total) and mean PSNR in dB of real files.

    A losslessly coded picture has no PSNR and does not count in the mean; the mean is None where all are lossless.
    """
    size, values = 0, []
    for rgb in pictures:
        data = coder.encode(rgb)
        size += len(data)
        values.append(psnr_db(rgb, coder.decode(data)))
    finite = [value for value in values if value is not None]
    pixels = sum(rgb.shape[0] * rgb.shape[1] for rgb in pictures)
    return 8 * size / pixels, sum(finite) / len(finite) if finite else None


def rate_function(codec: Codec, pictures: Iterable[Rgb]) -> Callable[[float], float]:
    """Return the real rate of `pictures` in bits per pixel as a function of the gain (1 / quantiser step).

    The analysis transform runs once, here. Each new gain costs the entropy coding of every picture. The latents lie in
    a temporary file, so that memory holds those of one picture. Drawings stay in memory. The codec must not change
    while the function is in use.
    """
    latents, pixels = _TensorFile(), 0
    drawings: list[Drawing | None] = []
    for rgb in pictures:
        x = to_tensor(rgb).to(codec.gain.device)
        latents.append(codec.latents(x), x.shape[-2:])
        drawings.append(drawing_for(codec, rgb))
        pixels += rgb.shape[0] * rgb.shape[1]

    @cache
    def rate(gain: float) -> float:
        packed = (codec.pack(latent.to(codec.gain.device), size, gain) for latent, size in latents)
        streams = (cheaper_stream(codec, stream, drawn, gain) for stream, drawn in zip(packed, drawings, strict=True))
        return 8 * sum(map(len, streams)) / pixels

    return rate


class _TensorFile:
    """Tensors, each with a size, in a file without a name, which is gone with this object or its process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._sizes: list[torch.Size] = []
        weakref.finalize(self, self._file.close)

    def append(self, tensor: Tensor, size: torch.Size) -> None:
        """Write one more."""
        np.save(self._file, tensor.cpu().numpy())
        self._sizes.append(size)

    def __iter__(self) -> Iterator[tuple[Tensor, torch.Size]]:
        self._file.seek(0)
        for size in self._sizes:
            yield torch.from_numpy(np.load(self._file)), size
