"""Files written and read by Pillow and imagecodecs, for the lossy and the lossless classic codecs."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arrays import Rgb
from ...errors import BitstreamError, ImageError


def checked_encode(name: str, encoder: Callable[[Rgb], bytes], rgb_HWC: Rgb) -> bytes:
    """Encode a picture, with one kind of error for all libraries.

    Args:
        name: of the codec, for messages.
        encoder: a contiguous picture to the bytes of a file.
        rgb_HWC: the picture.

    Raises:
        ImageError: the picture is not uint8 (H, W, 3), or the library refuses it.
    """
    if rgb_HWC.dtype != np.uint8 or rgb_HWC.ndim != 3 or rgb_HWC.shape[2] != 3 or rgb_HWC.size == 0:
        raise ImageError(f"{name}: not a uint8 (H, W, 3) picture: {rgb_HWC.dtype} {rgb_HWC.shape}")
    try:
        return encoder(np.ascontiguousarray(rgb_HWC))
    except (OSError, ValueError, RuntimeError) as error:
        height, width = rgb_HWC.shape[:2]
        raise ImageError(f"{name}: cannot encode a {width}x{height} picture: {error}") from error


def pillow_encode(rgb_HWC: Rgb, container: str, **options: Any) -> bytes:
    """A picture as a file of one of Pillow's formats, with options of that format's writer."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb_HWC).save(buffer, container, **options)
    return buffer.getvalue()


def pillow_decoder(container: str) -> Callable[[bytes], Rgb]:
    """A reader of one of Pillow's formats, which raises `BitstreamError` for a bad file."""

    def decode(data: bytes) -> Rgb:
        from PIL import Image

        # Pillow's readers raise errors of many classes for bad files; a SyntaxError is a broken header.
        bad = (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            IndexError,
            struct.error,
            Image.DecompressionBombError,
        )
        try:
            with Image.open(io.BytesIO(data), formats=[container]) as image:
                return np.array(image.convert("RGB"))
        except bad as error:
            raise BitstreamError(f"not a readable {container} bitstream: {error}") from error

    return decode


def pillow_version(feature: str, library: str) -> Callable[[], str]:
    """Pillow and the library behind one of its formats, with their versions."""

    def version() -> str:
        import PIL
        from PIL import features

        return f"Pillow {PIL.__version__}, {library} {features.version(feature)}"

    return version


def jpegxl_decode(data: bytes) -> Rgb:
    """The picture in a JPEG XL file; raises `BitstreamError`."""
    import imagecodecs

    return imagecodecs_decode(lambda: imagecodecs.jpegxl_decode(data, numthreads=1), "JPEG XL")


def imagecodecs_decode(decode: Callable[[], Any], kind: str) -> Rgb:
    """Call a reader of imagecodecs, and check that it returns 8-bit RGB.

    Args:
        decode: the reader, with its data.
        kind: of file, for messages.

    Raises:
        BitstreamError: the file is bad, or not 8-bit RGB.
    """
    try:
        decoded = np.asarray(decode())
    except (RuntimeError, ValueError, MemoryError) as error:
        raise BitstreamError(f"not a readable {kind} bitstream: {error}") from error
    return checked_rgb(decoded, kind)


def checked_rgb(decoded: NDArray[Any], kind: str) -> Rgb:
    """A decoded picture, if it is 8-bit RGB; raises `BitstreamError` for any other, with the kind of its file."""
    if decoded.dtype != np.uint8 or decoded.ndim != 3 or decoded.shape[2] != 3:
        raise BitstreamError(f"not a {kind} bitstream of 8-bit RGB: {decoded.dtype} {decoded.shape}")
    return decoded


def imagecodecs_version(codec: str) -> Callable[[], str]:
    """imagecodecs and the library behind one of its codecs, with their versions."""

    def version() -> str:
        import imagecodecs

        library = getattr(imagecodecs, f"{codec}_version")()
        return f"imagecodecs {imagecodecs.__version__}, {library.replace('-', ' ')}"

    return version
