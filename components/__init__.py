"""Learned image codecs. Other programs install this package under the name `ratewright`:

import ratewright

codec = ratewright.load("codec/")  # as `ratewright export` wrote it
stream = codec.compress(rgb)  # (H, W, 3) uint8
rgb = codec.decompress(stream)
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import RatewrightError

if TYPE_CHECKING:
    from .codecs.public import Codec

__all__ = ["RatewrightError", "load"]


def load(path: str | Path) -> "Codec":
    """The codec of an exported folder; or of a checkpoint file, where torch is installed. Raises RatewrightError."""
    from .codecs.codec_files import open_codec
    from .codecs.public import Codec

    return Codec(open_codec(Path(path)))
