"""HEIC files (HEVC's still pictures in HEIF), written by x265 and read by libde265, through pillow-heif.

pillow-heif is an extra of its own: its wheels are under the GPL, version 2, as x265 is.
"""

import io
from types import ModuleType

import numpy as np

from ...arrays import Rgb
from ...errors import BitstreamError, RatewrightError
from .libraries import checked_rgb

LOWEST_QUALITY = 51
"""x265's constant rate factor at quality 0, the largest it takes. It rounds to whole quantiser parameters."""

_PARAMETERS = {
    "preset": "slow",
    "tune": "psnr",
    "chroma": "444",
    "x265:cbqpoffs": -3,
    "x265:crqpoffs": -3,
    "x265:wpp": 0,  # wavefronts serve threads, and cost bytes
    "x265:pools": "none",
}


def heic_encode(rgb_HWC: Rgb, quality: float) -> bytes:
    """A picture as a HEIC file; the quality is `LOWEST_QUALITY` less x265's constant rate factor."""
    buffer = io.BytesIO()
    height, width = rgb_HWC.shape[:2]
    parameters = {**_PARAMETERS, "x265:crf": LOWEST_QUALITY - int(quality)}
    _library().encode("RGB", (width, height), rgb_HWC.tobytes(), buffer, enc_params=parameters)
    return buffer.getvalue()


def heic_decode(data: bytes) -> Rgb:
    """The picture in a HEIC file; raises `BitstreamError`."""
    library = _library()
    try:
        decoded = np.asarray(library.open_heif(io.BytesIO(data)))
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError) as error:
        raise BitstreamError(f"not a readable HEIC bitstream: {error}") from error
    return checked_rgb(decoded, "HEIC")


def heic_version() -> str:
    """pillow-heif and the libraries behind it, with their versions."""
    library = _library()
    found = library.libheif_info()
    encoder = found["HEIF"].replace("HEVC encoder ", "").strip("()").replace("(", "")
    return f"pillow-heif {library.__version__}, libheif {found['libheif']}, {encoder}"


def _library() -> ModuleType:
    """pillow-heif, which decodes on one thread. Raises `RatewrightError` where it is not installed."""
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise RatewrightError(
            "the baseline heic needs pillow-heif: run `pip install 'ratewright[heic]'`, "
            "or leave heic out of the baselines"
        ) from error
    pillow_heif.options.DECODE_THREADS = 1
    return pillow_heif
