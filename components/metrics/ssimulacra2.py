"""SSIMULACRA 2.1 (Sneyers, Cloudinary 2023): the errors that people see in a compressed picture, as a score.

The figures are those of the authors' program. The package `ssimulacra2` differs from it by up to five points, because
it extends pictures by reflection on two sides and by zeros on the others, and takes four times as long.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..arrays import Rgb

SSIMULACRA2_MIN_SIDE = 113
"""Pixels a side below which the authors' program leaves scales out, and so gives the others the wrong weights."""

_SCALES = 6
_WEIGHTS = np.array(
    [
        (0, 0.000737660671, 0, 0, 0.000779348168, 0),
        (0, 0.000437115573, 0, 1.10417264, 0.000662848341, 0.000152316328),
        (0, 0.00164064375, 0, 1.84224555, 11.4411726, 0),
        (0.000798910944, 0.000176816438, 0, 1.8787595, 10.9490699, 0),
        (0.000728934699, 0.967793708, 0, 0.000140034243, 0.998176698, 0.000319497559),
        (0.000455099211, 0, 0, 0.00136487662, 0, 0),
        (0, 0, 0, 7.46689033, 0, 17.445834),
        (0.000623560163, 0, 0, 6.68367815, 0.00037724408, 1.02788994),
        (225.205153, 0, 0, 19.2132382, 0.00114015246, 0.00123775564),
        (176.393176, 0, 0, 24.43301, 0.285208026, 0.000448543692),
        (0, 0, 0, 34.7790634, 44.8356253, 0),
        (0, 0, 0, 0, 0, 0),
        (0, 0.000868055657, 0, 0, 0, 0),
        (0, 0.000531319187, 0, 0.000165338142, 0, 0),
        (0, 0, 0, 0.00041791718, 0.00172908282, 0),
        (0.00208270058, 0, 0, 8.82698276, 23.1924334, 0),
        (95.1080499, 0.986397803, 0.983438279, 0.0012286405, 171.266726, 0.980785887),
        (0, 0, 0, 0.000513006459, 0, 0.000108540579),
    ]
).reshape(3, _SCALES, 2, 3)
"""Of X, Y and B - Y; of the scales from the finest; of the 1-norm and the 4-norm; of the three error maps."""
_C2 = 0.0009
_BIAS = 0.0037930732552754493
_CONE_RESPONSES = np.array(
    [
        (0.3, 0.622, 0.078, _BIAS),
        (0.23, 0.692, 0.078, _BIAS),
        (0.24342268924547819, 0.20476744424496821, 0.55180986650955360, _BIAS),
    ],
    np.float32,
)
"""Linear red, green, blue and 1 to the responses of the eye's three kinds of cones."""
_XYB = np.array([(7, -7, 0, 0.42), (0.5, 0.5, 0, 0.01 - np.cbrt(_BIAS)), (-0.5, -0.5, 1, 0.55)], np.float32)
"""Cube roots of the responses, and 1, to X, Y and B - Y as JPEG XL has them, moved into the range from 0 to 1."""
_WINDOW = np.array(
    (0.00941436781, 0.0360111147, 0.109335373, 0.212928592, 0.264621105, 0.212928592, 0.109335373, 0.0360111147,
     0.00941436781), np.float32,
)  # fmt: skip
"""Impulse response of libjxl's recursive Gaussian filter with a deviation of 1.5 pixels."""
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""Linear light of each 8-bit sRGB code."""

Planes = NDArray[np.float32]


def ssimulacra2(original: Rgb, decoded: Rgb) -> float | None:
    """The score of a decoded picture (H, W, 3): 100 for the original, 90 where no error is seen, below 0 for ruins.

    At each of six scales there are three maps of errors: unlike structure (of SSIM), edges that the original lacks
    (ringing, blocks), and edges that are lost (blur). The score is a function of their weighted norms.

    Returns:
        The score; None for a side below `SSIMULACRA2_MIN_SIDE`.
    """
    if min(original.shape[:2]) < SSIMULACRA2_MIN_SIDE:
        return None
    error = sum(
        float(np.vdot(weights, norms))
        for scale, maps in enumerate(_error_maps(original, decoded))
        for weights, norms in zip(_WEIGHTS[:, scale].transpose(2, 1, 0), map(_norms, maps), strict=True)
    )
    error *= 0.9562382616834844
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return float(100 - 10 * max(error, 0.0) ** 0.6276336467831387)


def _error_maps(original: Rgb, decoded: Rgb) -> Iterator[tuple[Planes, Planes, Planes]]:
    """Unlike structure, added edges and lost edges in X, Y and B - Y at each scale, the finest first."""
    lights = _LINEAR[original], _LINEAR[decoded]
    for scale in range(_SCALES):
        if scale:
            lights = _halved(lights[0]), _halved(lights[1])
        yield _compared(*map(_perceived, lights))


def _perceived(light: Planes) -> Planes:
    """X, Y and B - Y of linear red, green and blue."""
    import cv2

    return cv2.transform(np.cbrt(cv2.transform(light, _CONE_RESPONSES)), _XYB)  # type: ignore[no-any-return]


def _compared(a: Planes, b: Planes) -> tuple[Planes, Planes, Planes]:
    mean_a, mean_b = _windowed(a), _windowed(b)
    covariance = _windowed(a * b) - mean_a * mean_b
    variances = _windowed(a * a + b * b) - (mean_a * mean_a + mean_b * mean_b)
    similarity = (1 - (mean_a - mean_b) ** 2) * (2 * covariance + _C2) / (variances + _C2)
    edges = (1 + np.abs(b - mean_b)) / (1 + np.abs(a - mean_a)) - 1
    return np.maximum(1 - similarity, 0), np.maximum(edges, 0), np.maximum(-edges, 0)


def _norms(errors: Planes) -> NDArray[np.float64]:
    """(2, 3): the mean, and the fourth root of the mean fourth power, of each plane."""
    squares = errors * errors
    fourth = np.mean(squares * squares, axis=(0, 1), dtype=np.float64) ** 0.25
    return np.stack([np.mean(errors, axis=(0, 1), dtype=np.float64), fourth])


def _windowed(planes: Planes) -> Planes:
    """Weighted means around each position, with zeros outside."""
    import cv2

    return cv2.sepFilter2D(  # type: ignore[no-any-return]
        planes, cv2.CV_32F, _WINDOW, _WINDOW, borderType=cv2.BORDER_CONSTANT
    )


def _halved(planes: Planes) -> Planes:
    """Means of 2x2 blocks; an odd last row or column counts twice."""
    import cv2

    height, width = planes.shape[:2]
    even = cv2.copyMakeBorder(planes, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    out: Planes = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return out
