"""Figures of a codec at other efforts of its encoder, each at the target rate."""

from collections.abc import Iterable, Mapping

from components.codecs.base import Codec
from components.errors import CalibrationError
from components.evaluation.measure import measure
from components.evaluation.results import summarise
from components.rate.coder_at_rate import LearnedAtRate
from pipeline.documents.evaluation import EffortPoint
from pipeline.stages._data_set import Pictures


def points_at_efforts(
    codec: Codec, efforts: Iterable[int], originals: Mapping[str, Pictures], target_bpp: float, tolerance: float
) -> dict[str, tuple[EffortPoint, ...]] | None:
    """Set -> the figures at each effort that reaches the target rate there, by effort; None without efforts.

    Args:
        codec: With its calibrated gain.
        efforts: Of the encoder.
        originals: Set -> its pictures.
        target_bpp: Rate of each set in bits per pixel.
        tolerance: Share by which the rate may fall short.

    Raises:
        RatewrightError: The codec has no efforts.
    """
    found: dict[str, list[EffortPoint]] = {key: [] for key in originals}
    for effort in sorted(set(efforts)):
        for key, pictures in originals.items():
            try:
                coder = LearnedAtRate(codec, pictures.rgbs, tolerance, effort)(target_bpp)
            except CalibrationError:
                continue
            assert coder.gain is not None
            point = summarise(measure(coder, pictures))
            found[key].append(EffortPoint(effort=effort, gain=coder.gain, **dict(point)))
    return {key: tuple(points) for key, points in found.items()} if any(found.values()) else None
