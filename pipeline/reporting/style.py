"""How the plots look, and the two forms they are written in."""

import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

PAPER, INK, SOFT, RULE = "#fdfdfb", "#1c1f24", "#6b7079", "#dcddd8"
LEARNED, BASELINE = "#1f5fae", "#b4541a"
VARIABLES = {PAPER: "paper", INK: "ink", SOFT: "soft", RULE: "rule", LEARNED: "learned", BASELINE: "baseline"}
"""Colour -> the page's CSS variable, so that inlined plots follow the reader's light or dark scheme."""

STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.size": 8.5,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "ratewright",
}
DPI = 160
WIDTH = 10.5
"""Width of every figure in inches."""


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()


def inline_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element for an HTML page: scalable, in the page's own font and colours."""
    stream = io.StringIO()
    with rc_context(STYLE):  # how text and ids are written is decided on saving
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"| xmlns(:xlink)?="[^"]*"| version="1.1"', "", text, count=5)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text
