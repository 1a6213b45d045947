"""Maps over a picture: where its bits went, and what was important."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from components.arrays import Rgb
from pipeline.reporting.style import SOFT, STYLE, WIDTH

Maps = Mapping[str, Sequence[Sequence[float]]]
"""Name -> rows of figures, one for each position of the codec's latents."""

CAPTION = (
    "{image} with what codecs tell of it, at the rate they are deployed with; the picture shows through. Bits: those "
    "of each position's latents, estimated, as bits for each of its pixels, all on one scale. Importance: the mean "
    "over the channels of what a codec's importance map leaves of them, from 0 to 1, each over its own range."
)
COLUMNS = 4
_SIDE = 320  # pixels of the picture, which is drawn as often as there are maps
_STRENGTH = 0.72


@rc_context(STYLE)
def map_plot(picture: Rgb, maps: Mapping[str, Maps]) -> Figure:
    """One panel for each map of each codec over the picture (H, W, 3): importance first, beside that codec's bits."""
    panels = [
        (codec, kind) for codec, found in maps.items() if "importance" in found for kind in ("importance", "bits")
    ]
    panels += [(codec, "bits") for codec, found in maps.items() if "importance" not in found]
    height, width = picture.shape[:2]
    rows = -(-len(panels) // COLUMNS)
    side = 0.97 * WIDTH / COLUMNS
    figure = Figure(figsize=(WIDTH, rows * (side * height / width + 0.32)))
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.965, bottom=0.005, hspace=0.12, wspace=0.04)
    small = Image.fromarray(picture).convert("L")
    small.thumbnail((_SIDE, _SIDE))
    ceiling = max(float(np.quantile(found["bits"], 0.99)) for found in maps.values())
    for (row, column), (codec, kind) in zip(product(range(rows), range(COLUMNS)), panels, strict=False):
        values = np.asarray(maps[codec][kind])
        ends = (0.0, ceiling) if kind == "bits" else (float(values.min()), float(values.max()))
        _draw(grid[row, column], np.asarray(small), values, ends, codec, kind)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw(
    axes: Axes,
    picture: np.ndarray,
    values: np.ndarray,
    ends: tuple[float, float],
    codec: str,
    kind: str,
) -> None:
    extent = (0, values.shape[1], values.shape[0], 0)
    axes.imshow(picture, cmap="gray", extent=extent, vmin=0, vmax=255, aspect="auto")
    axes.imshow(
        values, cmap="inferno", extent=extent, vmin=ends[0], vmax=ends[1], alpha=_STRENGTH, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_axis_off()
    axes.set_title(codec)
    said = f"{kind}, {ends[0]:.2g} to {ends[1]:.2g}" + (" bpp" if kind == "bits" else "")
    axes.set_title(said, loc="right", color=SOFT, size=7.5)
