"""The codec as programs use it that install the package alone."""

from collections.abc import Callable

from ..arrays import Rgb
from .codec_files import CodecInUse, DeployedCoder
from .effort import DEFAULT_EFFORT, no_progress


class Codec:
    """A trained codec: pictures to bitstreams and back, with either engine.

    Attributes:
        name: As in the header of its streams.
        model_hash: 8 bytes that identify its weights, as in the header of its streams.
    """

    def __init__(self, codec: CodecInUse):
        self._codec = codec
        self.name, self.model_hash = codec.name, codec.model_hash

    def compress(
        self, rgb: Rgb, effort: int = DEFAULT_EFFORT, on_progress: Callable[[int, int], None] = no_progress
    ) -> bytes:
        """The bitstream of a picture (H, W, 3) uint8.

        Args:
            rgb: The picture.
            effort: 0 to 9; efforts from 2 on take torch.
            on_progress: Called with the steps that an encoding of effort 2 or more has done, and their number.

        Raises:
            RatewrightError: The codec has no such effort, or the picture is too large.
        """
        return DeployedCoder(self._codec, effort=effort, on_progress=on_progress).encode(rgb)

    def decompress(self, stream: bytes) -> Rgb:
        """The picture (H, W, 3) uint8 in a bitstream. Raises RatewrightError for one that is broken or another's."""
        return DeployedCoder(self._codec).decode(stream)
