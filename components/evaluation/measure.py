"""Measurement of a coder on real files: every picture is encoded and decoded, nothing is estimated."""

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..arrays import Rgb
from ..codecs.coder import Coder
from ..errors import RatewrightError
from ..metrics.figures import FIGURES
from ..metrics.quality import quality_of
from .results import ImageResult


def measure(
    coder: Coder,
    pictures: Iterable[tuple[str, Rgb]],
    keep: Callable[[str, Rgb], None] | None = None,
    *,
    lossless: bool = False,
) -> list[ImageResult]:
    """Encode and decode each picture, and compare the result with the original.

    Args:
        coder: the codec under measurement.
        pictures: pairs of a name and a picture.
        keep: called with the name and the decoded picture, for every picture.
        lossless: whether every pixel must come back.

    Returns:
        One result for each picture, in order.

    Raises:
        RatewrightError: a lossless coder changed a pixel; the message names the first such picture.
    """
    results = []
    for name, rgb in pictures:
        result, decoded = _measure_one(coder, name, rgb, lossless=lossless)
        results.append(result)
        if keep is not None:
            keep(name, decoded)
    return results


def measure_in_turns(coders: Sequence[Coder], pictures: Iterable[tuple[str, Rgb]]) -> list[list[ImageResult]]:
    """Measure several coders, each picture with all of them before the next one.

    What else the machine does meanwhile then takes as many seconds from one as from the other. The first coder of a
    picture is the second of the next, so that none has the caches warm.

    Args:
        coders: the codecs under measurement.
        pictures: pairs of a name and a picture.

    Returns:
        For each coder, one result for each picture, in order.
    """
    results: list[list[ImageResult]] = [[] for _ in coders]
    turns = list(zip(coders, results, strict=True))
    for name, rgb in pictures:
        for coder, found in turns:
            found.append(_measure_one(coder, name, rgb, lossless=False)[0])
        turns = turns[1:] + turns[:1]
    return results


def _measure_one(coder: Coder, name: str, rgb: Rgb, *, lossless: bool) -> tuple[ImageResult, Rgb]:
    started = time.perf_counter()
    data = coder.encode(rgb)
    encoded = time.perf_counter()
    decoded = coder.decode(data)
    finished = time.perf_counter()
    if lossless:
        _check_unchanged(name, rgb, decoded)
    quality = quality_of(rgb, decoded)
    height, width = rgb.shape[:2]
    result = ImageResult(
        image=name,
        width=width,
        height=height,
        bytes=len(data),
        bpp=8 * len(data) / (height * width),
        **{figure: getattr(quality, figure) for figure in FIGURES},
        encode_s=encoded - started,
        decode_s=finished - encoded,
        reasons=quality.reasons,
    )
    return result, decoded


def _check_unchanged(name: str, rgb: Rgb, decoded: Rgb) -> None:
    if decoded.shape != rgb.shape:
        raise RatewrightError(f"not lossless: {name} of shape {rgb.shape} came back as {decoded.shape}")
    if changed := np.count_nonzero((decoded != rgb).any(axis=2)):
        raise RatewrightError(f"not lossless: {changed} of the {rgb[..., 0].size} pixels of {name} came back changed")
