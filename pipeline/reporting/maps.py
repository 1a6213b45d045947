"""The plot of latent maps over a picture: where its bits went, and what an importance map kept."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from components.arrays import Rgb
from pipeline.documents import LatentMaps
from pipeline.reporting.style import SOFT, STYLE, WIDTH

CAPTION = (
    "Maps of learned codecs over {image}, at the rate with which each is deployed; the picture shows through. Bits: "
    "the estimated bits of the latents at each position, for each pixel that the position stands for, all codecs on "
    "one scale. Importance: how much of the latents at each position the codec's importance map keeps, from 0 to 1, "
    "the mean over channels, each codec over its own range."
)
COLUMNS = 4
_SIDE = 320  # pixels of the picture, which is drawn as often as there are maps
_STRENGTH = 0.72


@rc_context(STYLE)
def map_plot(picture: Rgb, latent_maps: Mapping[str, LatentMaps]) -> Figure:
    """Plot the maps of codecs over a picture, one panel each.

    Args:
        picture: (H, W, 3).
        latent_maps: Codec -> its maps of the picture.
    """
    maps = {codec: found.maps for codec, found in latent_maps.items()}
    panels = _panels(maps)
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


def _panels(maps: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
    """Codec and kind of map of each panel: codecs with importance first, each beside its bits."""
    panels = [
        (codec, kind) for codec, found in maps.items() if "importance" in found for kind in ("importance", "bits")
    ]
    return panels + [(codec, "bits") for codec, found in maps.items() if "importance" not in found]


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
    label = f"{kind}, {ends[0]:.2g} to {ends[1]:.2g}" + (" bpp" if kind == "bits" else "")
    axes.set_title(label, loc="right", color=SOFT, size=7.5)
